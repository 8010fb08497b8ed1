// What a profiler would be told by NVTX, as lines of the file $NVTX_LISTENER_FILE.PID. NVTX loads this
// library in a profiler's place where NVTX_INJECTION64_PATH names it.
#include <nvtx3/nvToolsExt.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

namespace {

std::mutex mutex;
std::FILE* told = nullptr;
nvtxRangeId_t ranges = 0;

void tell(const char* what, const char* name) {
  std::fprintf(told, "%s %s\n", what, name);
  std::fflush(told);  // a process may end without ado
}

void NVTX_API mark(const char* name) {
  const std::lock_guard lock(mutex);
  tell("mark", name);
}

int NVTX_API push(const char* name) {
  const std::lock_guard lock(mutex);
  tell("push", name);
  return 0;
}

int NVTX_API pop() {
  const std::lock_guard lock(mutex);
  tell("pop", "");
  return 0;
}

nvtxRangeId_t NVTX_API start(const char* name) {
  const std::lock_guard lock(mutex);
  tell("start", name);
  return ++ranges;
}

void NVTX_API end(nvtxRangeId_t range) {
  const std::lock_guard lock(mutex);
  tell("end", std::to_string(range).c_str());
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr || callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size) == 0 ||
      size < NVTX_CBID_CORE_SIZE) {
    return 0;
  }
  const std::lock_guard lock(mutex);
  if (told == nullptr) {  // each library that has NVTX in it asks
    const char* file = std::getenv("NVTX_LISTENER_FILE");
    told = std::fopen((std::string(file != nullptr ? file : "nvtx") + "." + std::to_string(getpid())).c_str(),
                      "w");
    if (told == nullptr) {
      return 0;
    }
  }
  *table[NVTX_CBID_CORE_MarkA] = reinterpret_cast<NvtxFunctionPointer>(mark);
  *table[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
  *table[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  *table[NVTX_CBID_CORE_RangeStartA] = reinterpret_cast<NvtxFunctionPointer>(start);
  *table[NVTX_CBID_CORE_RangeEnd] = reinterpret_cast<NvtxFunctionPointer>(end);
  return 1;
}
