#include "core/checkpoint_file.hpp"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <unordered_set>

#include "core/atomic_file.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/input_file.hpp"
#include "core/text.hpp"
#include "core/torch_archive.hpp"

namespace slicereduce {

namespace {

/// The name of the archive's first record: the beginning of a file tells a checkpoint that lost its end
/// from a file that never was one.
const std::string kMark = "slicereduce-checkpoint-1";

struct Trailer {
  std::array<char, 8> magic;
  std::uint64_t payload_bytes;
  Digest128 payload_digest;
  std::uint64_t own_digest;  // of everything before it
};
static_assert(sizeof(Trailer) == 40 && std::has_unique_object_representations_v<Trailer>);

constexpr std::array<char, 8> kMagic{'S', 'L', 'R', 'C', 'K', 'P', 'T', '1'};

std::uint64_t digest_of_trailer(const Trailer& trailer) {
  return digest_of(std::as_bytes(std::span(&trailer, 1)).first(offsetof(Trailer, own_digest)));
}

Trailer trailer_of(std::uint64_t payload_bytes, const Digest128& payload_digest) {
  Trailer trailer{kMagic, payload_bytes, payload_digest, 0};
  trailer.own_digest = digest_of_trailer(trailer);
  return trailer;
}

c10::IValue to_ivalue(const CheckpointContent& content) {
  using Dict = c10::Dict<c10::IValue, c10::IValue>;
  Dict sections(c10::StringType::get(), c10::AnyType::get());
  for (const auto& [section, tensors] : content.sections) {
    Dict dict(c10::StringType::get(), c10::AnyType::get());
    for (const auto& [name, tensor] : tensors) {
      require(dict.insert(name, to_own_storage(tensor)).second, "a checkpoint's section holds a name twice");
    }
    require(sections.insert(section, dict).second, "a checkpoint holds a section twice");
  }
  Dict root(c10::StringType::get(), c10::AnyType::get());
  root.insert("manifest", content.manifest);
  root.insert("sections", sections);
  return root;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const char* what) {
  throw Error(ErrorKind::input, concat("checkpoint ", path.string(), ": ", what));
}

bool begins_as_checkpoint(const InputFile& file) {
  constexpr std::uint64_t kHead = 256;  // the mark is within
  std::vector<std::byte> head(std::min(kHead, file.size()));
  file.read_at(0, head);
  return begins_with_record(head, kMark);
}

Digest128 digest_of_head(const InputFile& file, std::uint64_t bytes) {
  constexpr std::uint64_t kPiece = std::uint64_t{4} << 20;
  std::vector<std::byte> piece(std::min(kPiece, bytes));
  RunningDigest128 digest;
  for (std::uint64_t at = 0; at < bytes; at += piece.size()) {
    piece.resize(std::min(kPiece, bytes - at));
    file.read_at(at, piece);
    digest.add(piece);
  }
  return digest.value();
}

/// How many bytes of the file the trailer vouches for.
std::uint64_t checked_payload(const InputFile& file) {
  constexpr const char* kCut = "cut short or damaged at its end: use an older one";
  constexpr const char* kOther = "not a slicereduce checkpoint";
  const std::filesystem::path& path = file.path();
  const bool begins_well = begins_as_checkpoint(file);
  if (file.size() < sizeof(Trailer)) {
    refuse(path, begins_well && file.size() > 0 ? kCut : kOther);
  }
  const std::uint64_t payload_bytes = file.size() - sizeof(Trailer);
  Trailer trailer{};
  file.read_at(payload_bytes, std::as_writable_bytes(std::span(&trailer, 1)));
  if (trailer.magic != kMagic) {
    refuse(path, begins_well ? kCut : kOther);
  }
  if (trailer.own_digest != digest_of_trailer(trailer)) {
    refuse(path, "the checksum of its trailer differs: it is damaged; use an older one");
  }
  if (trailer.payload_bytes != payload_bytes) {
    refuse(path, "cut short, or bytes were added: use an older one");
  }
  if (trailer.payload_digest != digest_of_head(file, payload_bytes)) {
    refuse(path, "its checksum differs: it is damaged; use an older one");
  }
  return payload_bytes;
}

template <typename T>
T expect(const PickleValue& value, const std::filesystem::path& path) {
  if (const T* found = std::get_if<T>(&value)) {
    return *found;
  }
  refuse(path, "its content is not laid out as a checkpoint's: written by another version?");
}

/// Each name once: a tensor that is looked at must be the one that is used.
void require_unique_names(const PickleDict& dict, const std::filesystem::path& path) {
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, value] : dict.items) {
    if (!seen.insert(expect<std::string_view>(key, path)).second) {
      refuse(path, "a section's or a tensor's name is there twice");
    }
  }
}

const PickleDict& sections_of(const TorchArchive& archive, const std::filesystem::path& path) {
  const auto& root = *expect<const PickleDict*>(archive.root(), path);
  return *expect<const PickleDict*>(root.find("sections"), path);
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, const CheckpointContent& content) {
  AtomicFile file(path);
  std::uint64_t size = 0;
  RunningDigest128 digest;
  const auto sink = [&](std::span<const std::byte> bytes) {
    file.write(bytes);
    size += bytes.size();
    digest.add(bytes);
  };
  // The trailer vouches for all of it, and a checksum of each record would cost more than that.
  write_torch_archive(to_ivalue(content), sink, {.first_record = kMark, .checksums = false});
  const Trailer trailer = trailer_of(size, digest.value());
  file.write(std::as_bytes(std::span(&trailer, 1)));
  file.commit();
}

CheckpointReader::CheckpointReader(const std::filesystem::path& path) : path_(path) {
  InputFile file(path);
  const std::uint64_t payload_bytes = checked_payload(file);
  archive_ = std::make_unique<TorchArchive>(std::move(file), payload_bytes);
  const auto& root = *expect<const PickleDict*>(archive_->root(), path);
  manifest_ = expect<std::string_view>(root.find("manifest"), path);
  const PickleDict& sections = sections_of(*archive_, path);
  require_unique_names(sections, path);
  for (const auto& [name, tensors] : sections.items) {
    require_unique_names(*expect<const PickleDict*>(tensors, path), path);
  }
}

CheckpointReader::~CheckpointReader() = default;

StateDict CheckpointReader::load(std::string_view section,
                                 const std::function<bool(std::string_view)>& wanted) {
  const auto& sections = sections_of(*archive_, path_).items;
  const auto found = std::ranges::find_if(
      sections, [&](const auto& entry) { return expect<std::string_view>(entry.first, path_) == section; });
  if (found == sections.end()) {
    throw Error(ErrorKind::input, concat("checkpoint ", path_.string(), ": has no section ", section));
  }
  StateDict tensors;
  for (const auto& [key, tensor] : expect<const PickleDict*>(found->second, path_)->items) {
    const auto name = expect<std::string_view>(key, path_);
    if (!wanted || wanted(name)) {
      tensors.emplace_back(name, archive_->load(*expect<const PickledTensor*>(tensor, path_)));
    }
  }
  return tensors;
}

}  // namespace slicereduce
