#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/imagenet/dataset_files.hpp"

namespace slicereduce::dataset_files {

struct TarMember {
  std::string path;
  Bytes bytes;
};

enum class TarForm { ustar, gnu, pax };

/// A tar file with these members, by libarchive.
[[nodiscard]] Bytes tar(const std::vector<TarMember>& members, TarForm form = TarForm::ustar);

[[nodiscard]] Bytes bytes_of(const std::string& text);

/// `count` samples of noise, KEY.cls (the sample's number modulo `classes`) and KEY.png, with keys from
/// `first` on.
[[nodiscard]] std::vector<TarMember> noise_samples(std::int64_t first, std::int64_t count,
                                                   std::int64_t classes);

}  // namespace slicereduce::dataset_files
