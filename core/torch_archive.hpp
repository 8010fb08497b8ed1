#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/input_file.hpp"
#include "core/pickle.hpp"

namespace c10 {
struct IValue;
}

namespace slicereduce {

/// The zip file that torch.save writes since PyTorch 1.6: a pickle that describes, and one record for the
/// bytes of each storage.
class TorchArchive {
 public:
  /// Reads from `path` as tensors are asked for. Throws Error(input), with what to do about files of the
  /// format before 1.6, and Error(io) as InputFile does.
  explicit TorchArchive(const std::filesystem::path& path);
  /// The same from the first `bytes` of a file.
  TorchArchive(InputFile file, std::uint64_t bytes);
  ~TorchArchive();
  TorchArchive(const TorchArchive&) = delete;
  TorchArchive& operator=(const TorchArchive&) = delete;

  [[nodiscard]] const PickleValue& root() const;
  /// A tensor in host memory that owns its bytes, with the strides it was saved with. Throws
  /// Error(input) where its record is missing or shorter than described.
  [[nodiscard]] at::Tensor load(const PickledTensor& tensor);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Takes the next bytes of an archive.
using ArchiveSink = std::function<void(std::span<const std::byte>)>;

/// What tells one archive from another that holds the same.
struct ArchiveForm {
  /// Where not empty, the name of an empty record at the head of the file, which tells kinds of files apart.
  std::string first_record = {};
  /// Of each record, CRC-32. It takes longer than all else; torch.load doesn't look at it, unzip does.
  bool checksums = true;
};

/// What torch.load(..., weights_only=True) reads as the plain Python value of `root`: c10::Dict and
/// c10::List of tensors, numbers and texts. A tensor is written from host memory, trimmed to its own
/// elements (a view doesn't bring its storage). Its bytes come to `sink` in order, a tensor's from where it
/// lies; what `sink` throws ends it.
void write_torch_archive(const c10::IValue& root, const ArchiveSink& sink, const ArchiveForm& form = {});
/// `tensor`, or its copy: in host memory, without a gradient, alone in its storage, dense. What
/// write_torch_archive's `root` must hold. Throws Error(invariant) for dtypes that can't be read back.
[[nodiscard]] at::Tensor to_own_storage(const at::Tensor& tensor);
/// Whether `bytes` begin as write_torch_archive's with that `first_record` do; true for a beginning of that.
[[nodiscard]] bool begins_with_record(std::span<const std::byte> bytes, const std::string& first_record);

}  // namespace slicereduce
