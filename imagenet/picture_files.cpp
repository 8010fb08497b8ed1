#include "imagenet/picture_files.hpp"

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "core/error.hpp"
#include "core/input_file.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

bool is_hidden(const std::filesystem::path& path) { return path.filename().string().starts_with('.'); }

bool has_picture_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

template <typename Wanted>
std::vector<std::string> sorted_names(const std::filesystem::path& folder, Wanted wanted) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!is_hidden(entry.path()) && wanted(entry)) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<std::string> picture_names(const std::filesystem::path& folder) {
  // A link to nothing is listed too, and refused where it is read: a data set that lost files should not
  // quietly be a smaller one.
  return sorted_names(
      folder, [](const auto& entry) { return has_picture_extension(entry.path()) && !entry.is_directory(); });
}

std::vector<std::string> folder_names(const std::filesystem::path& folder) {
  return sorted_names(folder, [](const auto& entry) { return entry.is_directory(); });
}

void read_picture(const std::filesystem::path& path, StoredImage& into) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;
  const InputFile file(path);
  if (file.size() > kMostBytes) {
    throw Error(ErrorKind::input, concat("cannot decode ", path.string(), ": it has ", file.size(),
                                         " bytes, more than a picture should; replace or remove the file"));
  }
  into.is_file = true;
  into.file.resize(file.size());
  file.read_at(0, into.file);
}

}  // namespace slicereduce
