#include "imagenet/webdataset_source.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <limits>
#include <mutex>
#include <span>
#include <string_view>

#include "core/atomic_file.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/in_parallel.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"

namespace slicereduce {

namespace {

std::vector<std::filesystem::path> sorted_tars(const std::filesystem::path& folder,
                                               std::string_view beginning) {
  std::vector<std::filesystem::path> found;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(beginning) && name.ends_with(".tar") && !name.starts_with('.')) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

constexpr std::size_t kThreads = 16;  // most of them wait for the disk

/// Each shard keeps a file open.
void allow_open_files(std::size_t count) {
  constexpr rlim_t kOthers = 256;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t needed = count + kOthers;
  if (limit.rlim_cur >= needed) {
    return;
  }
  limit.rlim_cur = std::min(limit.rlim_max, needed);
  if (limit.rlim_cur < needed || ::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    throw Error(ErrorKind::input,
                concat(count, " shards are more files than a process may open here (", limit.rlim_max,
                       "): raise the limit (ulimit -n), or make fewer, larger shards"));
  }
}

/// The text of a shard's index: as it is stored, or made and then stored.
std::string index_text(const InputFile& shard, const std::filesystem::path& path, bool& is_stored) {
  is_stored = std::filesystem::exists(path);
  if (is_stored) {
    const auto bytes = read_whole(path);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  return make_index(shard);
}

/// A shard may have been written again since its index was made.
void check_picture(const InputFile& shard, const StoredSample& sample) {
  const auto header = header_before(shard, sample.image_offset);
  if (!header || header->bytes != sample.image_bytes) {
    throw Error(ErrorKind::input, concat("it does not fit its shard, which has no file of ",
                                         sample.image_bytes, " bytes at ", sample.image_offset));
  }
}

std::vector<StoredSample> open_index(const InputFile& shard, const WebDatasetSource::Warn& warn) {
  const std::filesystem::path path = index_path(shard.path());
  bool is_stored = false;
  const std::string text = index_text(shard, path, is_stored);
  std::vector<StoredSample> samples;
  try {
    samples = parse_index(text, shard.size());
    check_picture(shard, samples.front());
    check_picture(shard, samples.back());
  } catch (const Error& failure) {
    throw Error(failure.kind(), is_stored ? concat("the index ", path.string(), ": ", failure.what(),
                                                   "; remove it to have it made anew")
                                          : concat("the shard ", shard.path().string(),
                                                   ": what would be its index, ", failure.what()));
  }
  if (!is_stored) {
    try {
      write_atomically(path, std::as_bytes(std::span(text)));
    } catch (const Error& failure) {
      if (warn) {
        warn(
            concat("the index of ", shard.path().string(), " was made, but can't be kept: ", failure.what()));
      }
    }
  }
  return samples;
}

/// The lines of classes.txt, or 0 where there is none.
std::int64_t listed_classes(const std::filesystem::path& folder) {
  std::ifstream file(folder / "classes.txt");
  std::int64_t lines = 0;
  for (std::string line; std::getline(file, line);) {
    lines += line.empty() ? 0 : 1;
  }
  return lines;
}

}  // namespace

std::vector<std::filesystem::path> shards_in(const std::filesystem::path& folder, Split split) {
  const std::vector<std::string> names =
      split == Split::train ? std::vector<std::string>{"train"} : std::vector<std::string>{"val", "test"};
  for (const auto& name : names) {
    for (auto found : {sorted_tars(folder, name), sorted_tars(folder / name, "")}) {
      if (!found.empty()) {
        return found;
      }
    }
  }
  return {};
}

WebDatasetSource::WebDatasetSource(const std::vector<std::filesystem::path>& shards, const Warn& warn) {
  require(!shards.empty(), "WebDatasetSource: no shard");
  allow_open_files(shards.size());
  for (const auto& shard : shards) {
    shards_.emplace_back(shard);
  }
  samples_.resize(shards.size());
  std::mutex one_warning;
  const Warn warn_in_turn = [&](const std::string& what) {
    const std::lock_guard lock(one_warning);
    if (warn) {
      warn(what);
    }
  };
  in_parallel(shards.size(), kThreads,
              [&](std::size_t shard) { samples_[shard] = open_index(shards_[shard], warn_in_turn); });
  first_of_shard_.push_back(0);
  for (const auto& index : samples_) {
    first_of_shard_.push_back(first_of_shard_.back() + static_cast<std::int64_t>(index.size()));
  }
  const std::int64_t listed = listed_classes(shards.front().parent_path());
  num_classes_ = listed > 0 ? listed : count_classes();
  fixed_extent_ = sample_extent(*this);
}

std::int64_t WebDatasetSource::count_classes() const {
  std::vector<std::int64_t> greatest(shards_.size());
  in_parallel(shards_.size(), kThreads, [&](std::size_t shard) {
    for (std::int64_t index = first_of_shard_[shard]; index < first_of_shard_[shard + 1]; ++index) {
      greatest[shard] = std::max(greatest[shard], stored_label(index));
    }
  });
  return *std::max_element(greatest.begin(), greatest.end()) + 1;
}

const StoredSample& WebDatasetSource::sample(std::int64_t index) const {
  require(index >= 0 && index < size(), "WebDatasetSource: index out of range");
  const std::size_t shard = shard_of(index);
  return samples_[shard][static_cast<std::size_t>(index - first_of_shard_[shard])];
}

std::size_t WebDatasetSource::shard_of(std::int64_t index) const {
  const auto next = std::upper_bound(first_of_shard_.begin(), first_of_shard_.end(), index);
  return static_cast<std::size_t>(next - first_of_shard_.begin() - 1);
}

std::int64_t WebDatasetSource::stored_label(std::int64_t index) const {
  constexpr std::size_t kMostBytes = 32;
  constexpr std::int64_t kMostClasses = std::int64_t{1} << 24;
  std::array<char, kMostBytes> text{};
  const auto bytes = std::min<std::size_t>(sample(index).label_bytes, kMostBytes);
  shards_[shard_of(index)].read_at(sample(index).label_offset,
                                   std::as_writable_bytes(std::span(text).first(bytes)));
  std::string_view digits(text.data(), bytes);
  digits = digits.substr(0, digits.find_last_not_of(" \r\n\t") + 1);
  std::int64_t label = -1;
  const auto [end, problem] = std::from_chars(digits.begin(), digits.end(), label);
  if (problem != std::errc() || end != digits.end() || label < 0 || label >= kMostClasses) {
    throw Error(ErrorKind::input, concat("the label of ", name(index), " is '", printable(digits),
                                         "': expected the number of a class"));
  }
  return label;
}

std::int64_t WebDatasetSource::label(std::int64_t index) const {
  const std::int64_t label = stored_label(index);
  if (label >= num_classes_) {
    throw Error(ErrorKind::input, concat("the label of ", name(index), " is ", label,
                                         ", but classes.txt has ", num_classes_, " classes"));
  }
  return label;
}

void WebDatasetSource::read(std::int64_t index, StoredImage& into) const {
  into.is_file = true;
  into.file.resize(sample(index).image_bytes);
  shards_[shard_of(index)].read_at(sample(index).image_offset, into.file);
}

std::string WebDatasetSource::name(std::int64_t index) const {
  const InputFile& shard = shards_[shard_of(index)];
  const auto header = header_before(shard, sample(index).image_offset);
  return concat(header ? header->path : concat("the picture at ", sample(index).image_offset), " in ",
                shard.path().string());
}

std::uint64_t WebDatasetSource::fingerprint() const {
  Digest digest;
  digest.add_text("webdataset");
  for (const auto& shard : shards_) {
    const std::array<std::uint64_t, 1> bytes{shard.size()};
    digest.add_text(shard.path().filename().string()).add_values(std::span<const std::uint64_t>(bytes));
  }
  for (const auto& index : samples_) {
    digest.add_values(std::span<const StoredSample>(index));
  }
  return digest.value();
}

}  // namespace slicereduce
