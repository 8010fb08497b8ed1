#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "imagenet/image_source.hpp"
#include "imagenet/loader.hpp"

namespace slicereduce {

/// How pictures become shards.
struct PackConfig {
  std::int64_t max_side = 0;    ///< larger pictures are shrunk to this long side; 0: no bound
  std::int64_t short_side = 0;  ///< or to this short side
  int quality = 90;             ///< of what is shrunk, and so written anew
  std::int64_t per_shard = 5000;
  bool shuffled = true;  ///< for loaders that shuffle within a buffer; else in the order of the folder
  int threads = 1;
  BadImages bad_images = BadImages::error;

  /// Throws Error(usage) naming the option.
  void validate() const;
};

/// What was packed.
struct Packed {
  std::int64_t shards = 0;
  std::int64_t kept = 0;     ///< of them, which an earlier run had written
  std::int64_t images = 0;   ///< in the shards
  std::int64_t skipped = 0;  ///< by this run, as they were bad
  std::uint64_t bytes = 0;   ///< of all shards
};

/// Told of each shard that is done, and why a picture is skipped, by the thread that has it.
struct PackReport {
  std::function<void(const std::string&)> on_shard;
  std::function<void(const std::string&)> on_bad_image;
};

/// Writes the pictures of `source`, which are files of their own, into shards NAME-000000.tar of `folder`,
/// with an index each, several at once. A picture that is not shrunk is written byte for byte. Each shard is
/// read again and compared; its index says that this was done, so a shard that has one is not written again.
/// The same source and options make the same bytes. Throws Error(input) naming a picture that is bad, and
/// Error(io).
Packed pack(const ImageSource& source, const std::filesystem::path& folder, const std::string& name,
            const PackConfig& config, const PackReport& report);

}  // namespace slicereduce
