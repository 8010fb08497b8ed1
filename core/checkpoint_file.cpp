#include "core/checkpoint_file.hpp"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <array>
#include <cstring>
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

/// The part of `bytes` that the trailer vouches for.
std::span<const std::byte> checked_payload(std::span<const std::byte> bytes,
                                           const std::filesystem::path& path) {
  constexpr const char* kCut = "cut short or damaged at its end: use an older one";
  constexpr const char* kOther = "not a slicereduce checkpoint";
  const bool begins_well = begins_with_record(bytes, kMark);
  if (bytes.size() < sizeof(Trailer)) {
    refuse(path, begins_well && !bytes.empty() ? kCut : kOther);
  }
  Trailer trailer{};
  std::memcpy(&trailer, bytes.last(sizeof(Trailer)).data(), sizeof(Trailer));
  if (trailer.magic != kMagic) {
    refuse(path, begins_well ? kCut : kOther);
  }
  const auto payload = bytes.first(bytes.size() - sizeof(Trailer));
  if (trailer.own_digest != digest_of_trailer(trailer)) {
    refuse(path, "the checksum of its trailer differs: it is damaged; use an older one");
  }
  if (trailer.payload_bytes != payload.size()) {
    refuse(path, "cut short, or bytes were added: use an older one");
  }
  if (trailer.payload_digest != digest128_of(payload)) {
    refuse(path, "its checksum differs: it is damaged; use an older one");
  }
  return payload;
}

template <typename T>
T expect(const PickleValue& value, const std::filesystem::path& path) {
  if (const T* found = std::get_if<T>(&value)) {
    return *found;
  }
  refuse(path, "its content is not laid out as a checkpoint's: written by another version?");
}

StateDict load_section(TorchArchive& archive, const PickleDict& dict, const std::filesystem::path& path) {
  StateDict tensors;
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, tensor] : dict.items) {
    const auto name = expect<std::string_view>(key, path);
    if (!seen.insert(name).second) {
      refuse(path, "a tensor's name is there twice");
    }
    tensors.emplace_back(name, archive.load(*expect<const PickledTensor*>(tensor, path)));
  }
  return tensors;
}

}  // namespace

const StateDict& CheckpointContent::section(std::string_view name, std::string_view where) const {
  const auto found =
      std::ranges::find_if(sections, [name](const auto& entry) { return entry.first == name; });
  if (found == sections.end()) {
    throw Error(ErrorKind::input, concat("checkpoint ", where, ": has no section ", name));
  }
  return found->second;
}

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

CheckpointContent read_checkpoint(const std::filesystem::path& path) {
  const auto bytes = read_whole(path);
  TorchArchive archive(checked_payload(bytes, path), path.string());
  const auto& root = *expect<const PickleDict*>(archive.root(), path);
  CheckpointContent content;
  content.manifest = expect<std::string_view>(root.find("manifest"), path);
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, dict] : expect<const PickleDict*>(root.find("sections"), path)->items) {
    const auto name = expect<std::string_view>(key, path);
    if (!seen.insert(name).second) {
      refuse(path, "a section's name is there twice");
    }
    content.sections.emplace_back(name, load_section(archive, *expect<const PickleDict*>(dict, path), path));
  }
  return content;
}

}  // namespace slicereduce
