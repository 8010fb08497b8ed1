#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "imagenet/image_source.hpp"
#include "tests/support/temporary_folder.hpp"

namespace slicereduce::dataset_files {

using testing::TemporaryFolder;
using Bytes = std::vector<std::uint8_t>;

/// Makes the folders above `path` too.
void write_file(const std::filesystem::path& path, const Bytes& bytes);
[[nodiscard]] Bytes gzip(const Bytes& bytes);

[[nodiscard]] Bytes idx_images(std::uint32_t count, std::uint32_t height, std::uint32_t width,
                               const Bytes& pixels);
[[nodiscard]] Bytes idx_labels(const Bytes& labels);

/// A smooth picture, which JPEG keeps to within a few levels.
[[nodiscard]] Image smooth_image(std::int64_t height, std::int64_t width, std::int64_t channels);
/// One of independent random pixels.
[[nodiscard]] Image noise_image(std::int64_t height, std::int64_t width, std::int64_t channels,
                                std::uint64_t seed);

/// `channels` 1 gives a grey file, 3 YCbCr, 4 Adobe CMYK (255 is no ink).
[[nodiscard]] Bytes jpeg(const Image& image, bool progressive = false);
/// `channels` 1 gives a grey file, 3 RGB, 4 RGB with alpha.
[[nodiscard]] Bytes png(const Image& image);

/// Expects `action` to throw an Error(input) whose message contains `part`.
void expect_input_error(const std::function<void()>& action, const std::string& part);

}  // namespace slicereduce::dataset_files
