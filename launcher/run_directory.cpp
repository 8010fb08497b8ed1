#include "launcher/run_directory.hpp"

#include <unistd.h>

#include <iomanip>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

bool RunDirectory::has_run() const {
  std::error_code ignored;
  return std::filesystem::is_directory(checkpoints(), ignored);
}

void RunDirectory::create() const {
  std::error_code problem;
  std::filesystem::create_directories(checkpoints(), problem);
  if (problem || ::access(checkpoints().c_str(), W_OK | X_OK) != 0 ||
      ::access(folder_.c_str(), W_OK | X_OK) != 0) {
    throw Error(ErrorKind::input,
                concat("cannot write the run folder ", folder_.string(), ": ",
                       problem ? problem.message() : "permission denied", "; name another one (--run-dir)"));
  }
}

std::unique_ptr<LockFile> RunDirectory::lock() const {
  return std::make_unique<LockFile>(folder_ / "lock", concat("the run folder ", folder_.string()),
                                    "wait until that run has ended, or name another folder (--run-dir)");
}

void RunDirectory::write_config(const std::string& text) const {
  write_atomically(config(), std::as_bytes(std::span(text)));
}

void RunDirectory::write_summary(const nlohmann::ordered_json& summary) const {
  // A folder's name in it need not be UTF-8.
  const std::string text =
      summary.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  write_atomically(this->summary(), std::as_bytes(std::span(text)));
}

std::filesystem::path RunDirectory::write_trace(std::int64_t first_step, const std::string& text) const {
  std::filesystem::path path =
      folder_ / concat("trace-", std::setfill('0'), std::setw(8), first_step, ".json");
  write_atomically(path, std::as_bytes(std::span(text)));
  return path;
}

}  // namespace slicereduce
