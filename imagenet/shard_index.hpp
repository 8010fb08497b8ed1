#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/input_file.hpp"

namespace slicereduce {

/// Where a picture and its label are in a shard.
struct StoredSample {
  std::uint64_t image_offset = 0;
  std::uint64_t label_offset = 0;
  std::uint32_t image_bytes = 0;
  std::uint32_t label_bytes = 0;
};

/// What a path within a shard says, as WebDataset reads it: all before the first dot of the file's name is
/// the sample's key, all behind it the extension.
struct MemberName {
  std::string_view key;
  std::string_view extension;
};
[[nodiscard]] MemberName split_member_name(std::string_view path);

/// Where the index file of a shard is, beside it: train-0000.idx of train-0000.tar, as DALI's wds2idx has it.
[[nodiscard]] std::filesystem::path index_path(const std::filesystem::path& shard);

/// The index of a shard, an uncompressed tar file, in the format of wds2idx: "v1.2 SAMPLES", then a line for
/// each sample, "EXTENSION OFFSET BYTES PATH" of each of its files; where a path has a blank, v1.1, which has
/// none. Reads the tar's headers alone. Throws Error(input) naming the shard where it is damaged, compressed
/// or empty.
[[nodiscard]] std::string make_index(const InputFile& shard);

/// Reads an index of v1.1 or v1.2 for a shard of so many bytes: of each sample the picture (jpg, jpeg, png)
/// and its label (cls). Throws Error(input) with line and reason, for whoever knows the file's name, where
/// that is damaged, leads out of the shard, or a sample has not one of each.
[[nodiscard]] std::vector<StoredSample> parse_index(std::string_view text, std::uint64_t shard_bytes);

/// A file of a shard, as the tar header before it has it.
struct MemberHeader {
  std::string path;
  std::uint64_t bytes = 0;
};
/// Of what is at `offset`; nothing where no header lies before it.
[[nodiscard]] std::optional<MemberHeader> header_before(const InputFile& shard, std::uint64_t offset);

}  // namespace slicereduce
