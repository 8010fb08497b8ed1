#include "core/torch_archive.hpp"

#include <ATen/core/ivalue.h>
#include <ATen/ops/empty_strided.h>
#include <c10/util/accumulate.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"
#include "core/zip_listing.hpp"

namespace slicereduce {

namespace {

using caffe2::serialize::PyTorchStreamReader;
using caffe2::serialize::PyTorchStreamWriter;
using caffe2::serialize::ReadAdapterInterface;

constexpr std::string_view kZipMagic = "PK\x03\x04";
constexpr std::string_view kArchiveName = "archive";  // what PyTorchStreamWriter calls what has no path

/// The beginning of a file. LibTorch's reader is in C and takes no exceptions: what goes wrong waits until it
/// has returned.
class FileHead final : public ReadAdapterInterface {
 public:
  FileHead(InputFile file, std::uint64_t bytes) : file_(std::move(file)), bytes_(bytes) {}

  std::size_t size() const override { return bytes_; }
  std::size_t read(std::uint64_t position, void* out, std::size_t count,
                   const char* what = "") const override {
    (void)what;
    const std::size_t there = position > bytes_ ? 0 : std::min<std::uint64_t>(count, bytes_ - position);
    try {
      file_.read_at(position, {static_cast<std::byte*>(out), there});
      return there;
    } catch (...) {
      problem_ = std::current_exception();
      return 0;
    }
  }
  void rethrow_problem() const {
    if (problem_) {
      std::rethrow_exception(problem_);
    }
  }
  [[nodiscard]] std::string name() const { return file_.path().string(); }

 private:
  InputFile file_;
  std::uint64_t bytes_;
  mutable std::exception_ptr problem_;
};

std::string head_of(const ReadAdapterInterface& file) {
  std::array<char, 4> head{};
  const std::size_t count = std::min(file.size(), head.size());
  return {head.data(), file.read(0, head.data(), count)};
}

/// The beginning of a local file header that is written before the name: signature to extra length.
constexpr std::size_t kZipNameOffset = 30;

void refuse_what_is_no_zip(const ReadAdapterInterface& file, const std::string& where) {
  const std::string head = head_of(file);
  if (head == kZipMagic) {
    return;
  }
  const bool is_bare_pickle = head.starts_with("\x80");
  throw Error(ErrorKind::input,
              is_bare_pickle
                  ? concat(where,
                           ": a file of the format before PyTorch 1.6: load it in a current "
                           "PyTorch and write it again with torch.save")
                  : concat(where, ": not a file that torch.save writes (it is not a zip archive)"));
}

}  // namespace

struct TorchArchive::State {
  struct Storage {
    std::string key;
    std::vector<std::byte> bytes;
  };

  explicit State(std::shared_ptr<FileHead> head) : where(head->name()), file(std::move(head)) {}

  /// LibTorch's exceptions (and whatever its parsing lets through) as ours.
  template <typename Call>
  auto reading(const char* what, const Call& call) const {
    try {
      return call();
    } catch (const c10::Error& error) {
      file->rethrow_problem();
      const std::string message = error.what_without_backtrace();
      if (message.find("not enough memory") != std::string::npos) {
        throw std::bad_alloc();  // of this machine, and no fault of the file's
      }
      fail(concat(what, ": ", message));
    } catch (const Error&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      fail(concat(what, ": ", error.what()));
    }
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::input, concat(where, ": damaged or cut short (", what, ")"));
  }

  std::vector<std::byte> record(const std::string& name) const {
    return reading("reading a record", [&] {
      // torch.save compresses nothing: a record that claims more than the file has is a lie, found before
      // memory is taken for it.
      const std::size_t size = reader->hasRecord(name) ? reader->getRecordSize(name) : SIZE_MAX;
      if (size > file->size()) {
        fail(concat("the record ", printable(name), " is missing or longer than the file"));
      }
      std::vector<std::byte> bytes(size);
      reader->getRecord(name, bytes.data(), bytes.size());
      return bytes;
    });
  }

  void open() {
    refuse_what_is_no_zip(*file, where);
    const auto read = [&](std::uint64_t position, std::span<std::byte> out) {
      return position > file->size() ? 0 : file->read(position, out.data(), out.size());
    };
    reading("opening the archive", [&] { refuse_compressed_records(read, file->size(), where); });
    reading("opening the archive", [&] { reader = std::make_unique<PyTorchStreamReader>(file); });
    if (reading("opening the archive", [&] { return reader->hasRecord("byteorder"); })) {
      const auto order = record("byteorder");
      if (std::string_view(reinterpret_cast<const char*>(order.data()), order.size()) != "little") {
        throw Error(ErrorKind::input, concat(where,
                                             ": written on a big-endian machine; only little-endian "
                                             "files are read"));
      }
    }
    auto bytes = record("data.pkl");
    // It has a hundred bytes for each tensor. What it is made into may be 50 times as large.
    constexpr std::size_t kAlways = std::size_t{16} << 20;
    if (bytes.size() > std::max(kAlways, file->size() / 2)) {
      fail(concat("its data.pkl has ", bytes.size(), " bytes, and all of it ", file->size()));
    }
    reading("reading data.pkl", [&] { pickle = std::make_unique<Pickle>(std::move(bytes), where); });
  }

  /// The last one is kept, since views of one tend to follow each other, and the largest, in which a training
  /// script may have all parameters, between which others come. More would be memory for nothing.
  const std::vector<std::byte>& storage(const std::string& key) {
    for (const auto& kept : {&last, &largest}) {
      if (*kept && (*kept)->key == key) {
        return (*kept)->bytes;
      }
    }
    if (last && (!largest || last->bytes.size() > largest->bytes.size())) {
      largest = std::move(last);
    }
    last.reset();
    auto bytes = record(concat("data/", key));
    limit(read_bytes, bytes.size());
    last = Storage{.key = key, .bytes = std::move(bytes)};
    return last->bytes;
  }

  /// Many tensors may share a storage. A small file must not come to much because of it.
  void limit(std::uint64_t& sum, std::uint64_t more) const {
    constexpr std::uint64_t kAlways = std::uint64_t{64} << 20;
    constexpr std::uint64_t kTimes = 64;
    sum += more;
    if (sum > kAlways + kTimes * file->size()) {
      fail("its tensors share memory beyond measure");
    }
  }

  std::string where;
  std::shared_ptr<FileHead> file;
  std::unique_ptr<PyTorchStreamReader> reader;
  std::unique_ptr<Pickle> pickle;
  std::optional<Storage> last;
  std::optional<Storage> largest;
  std::uint64_t read_bytes = 0;        // of records with tensors, again and again
  std::uint64_t handed_out_bytes = 0;  // as tensors
};

TorchArchive::TorchArchive(InputFile file, std::uint64_t bytes)
    : state_(std::make_unique<State>(std::make_shared<FileHead>(std::move(file), bytes))) {
  state_->open();
}

TorchArchive::TorchArchive(const std::filesystem::path& path) {
  InputFile file(path);
  const std::uint64_t bytes = file.size();
  state_ = std::make_unique<State>(std::make_shared<FileHead>(std::move(file), bytes));
  state_->open();
}

TorchArchive::~TorchArchive() = default;

const PickleValue& TorchArchive::root() const { return state_->pickle->root(); }

at::Tensor TorchArchive::load(const PickledTensor& tensor) {
  const auto& bytes = state_->storage(std::string(tensor.storage.key));
  const std::size_t itemsize = c10::elementSize(tensor.storage.dtype);
  if (bytes.size() / itemsize < static_cast<std::size_t>(tensor.storage.numel)) {
    state_->fail(concat("the record data/", printable(tensor.storage.key), " holds ", bytes.size(),
                        " bytes, not ", tensor.storage.numel, " elements of ", itemsize));
  }
  // A stride of 0 makes many numbers of one: whoever lays them out one after the other needs as much.
  const std::int64_t numel = c10::multiply_integers(tensor.sizes);
  state_->limit(state_->handed_out_bytes,
                static_cast<std::uint64_t>(std::max(numel, tensor.extent)) * itemsize);
  return state_->reading("making a tensor", [&] {
    at::Tensor result = at::empty_strided(tensor.sizes, tensor.strides, at::dtype(tensor.storage.dtype));
    const auto used = std::span(bytes).subspan(static_cast<std::size_t>(tensor.offset) * itemsize,
                                               static_cast<std::size_t>(tensor.extent) * itemsize);
    std::ranges::copy(used, static_cast<std::byte*>(result.data_ptr()));
    return result;
  });
}

at::Tensor to_own_storage(const at::Tensor& tensor) {
  require(is_storable(tensor.scalar_type()), "a tensor of a dtype that state dicts don't hold");
  const at::Tensor host = tensor.detach().cpu();
  const bool alone = host.storage().nbytes() == host.nbytes() && host.is_non_overlapping_and_dense();
  return alone ? host : host.clone(at::MemoryFormat::Preserve);
}

void write_torch_archive(const c10::IValue& root, const ArchiveSink& sink, const ArchiveForm& form) {
  std::string pickle;
  torch::jit::Pickler pickler([&](const char* data, std::size_t size) { pickle.append(data, size); }, nullptr,
                              nullptr, nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(root);
  pickler.stop();

  // The writer is in C and takes no exceptions: what the sink throws waits until it has returned.
  std::exception_ptr problem;
  PyTorchStreamWriter writer(
      [&](const void* data, std::size_t size) -> std::size_t {
        try {
          if (!problem) {
            sink({static_cast<const std::byte*>(data), size});
          }
        } catch (...) {
          problem = std::current_exception();
        }
        return size;
      },
      form.checksums);
  const auto write = [&](const std::string& name, const void* data, std::size_t size) {
    writer.writeRecord(name, data, size);
    if (problem) {
      std::rethrow_exception(problem);
    }
  };
  if (!form.first_record.empty()) {
    write(form.first_record, "", 0);
  }
  write("data.pkl", pickle.data(), pickle.size());
  write("byteorder", "little", 6);
  for (std::size_t i = 0; i < pickler.tensorData().size(); ++i) {
    const auto& storage = pickler.tensorData()[i].storage();
    write(concat("data/", i), storage.data(), storage.nbytes());
  }
  writer.writeEndOfFile();
  if (problem) {
    std::rethrow_exception(problem);
  }
}

bool begins_with_record(std::span<const std::byte> bytes, const std::string& first_record) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string name = concat(kArchiveName, '/', first_record);
  const std::string_view head = text.substr(0, kZipMagic.size());
  const std::string_view named =
      text.size() > kZipNameOffset ? text.substr(kZipNameOffset, name.size()) : std::string_view{};
  return kZipMagic.starts_with(head) && std::string_view(name).starts_with(named);
}

}  // namespace slicereduce
