#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "imagenet/image_source.hpp"

namespace slicereduce {

/// The names of the .jpg, .jpeg and .png files in a folder, sorted. Hidden ones are not among them.
[[nodiscard]] std::vector<std::string> picture_names(const std::filesystem::path& folder);
/// The names of the folders in a folder, sorted, likewise.
[[nodiscard]] std::vector<std::string> folder_names(const std::filesystem::path& folder);

/// Throws Error(input) where there is no such file, or it is larger than a picture should be.
void read_picture(const std::filesystem::path& path, StoredImage& into);

}  // namespace slicereduce
