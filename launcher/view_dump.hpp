#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "imagenet/image_source.hpp"
#include "imagenet/loader.hpp"
#include "imagenet/transform.hpp"

namespace slicereduce {

/// Of which views a dump is.
struct DumpedViews {
  std::int64_t count = 0;
  TransformConfig transform;
  /// What training views were drawn from; evaluation views are of no epoch.
  std::uint64_t seed = 0;
  std::optional<std::int64_t> epoch;
};

/// Writes the next `count` views of `loader`, which was started, for comparison with other loaders: a NumPy
/// array (uint8 [count, image_size, image_size, channels]) to `array`, called *.npy, and beside it, as
/// .jsonl, a line for each view: `name` and `label` of the picture, and of a training view the crop (`top`,
/// `left`, `height`, `width`) and whether it is `mirrored`, and what of the file is `decoded` for it. Both
/// files are there when this returns, or none is new. Throws Error(usage) for another name or where the
/// loader has fewer views, and Error(io).
void dump_views(const std::filesystem::path& array, const DumpedViews& views, const ImageSource& source,
                Loader& loader);

}  // namespace slicereduce
