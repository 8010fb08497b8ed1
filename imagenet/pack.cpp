#include "imagenet/pack.hpp"

#include <algorithm>
#include <array>
#include <iomanip>
#include <mutex>
#include <numeric>
#include <span>
#include <sstream>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/in_parallel.hpp"
#include "core/text.hpp"
#include "imagenet/decoder.hpp"
#include "imagenet/epoch_order.hpp"
#include "imagenet/jpeg_encoder.hpp"
#include "imagenet/resample.hpp"
#include "imagenet/shard_index.hpp"
#include "imagenet/shard_writer.hpp"

namespace slicereduce {

namespace {

std::string numbered(std::int64_t number, int digits) {
  std::ostringstream text;
  text << std::setfill('0') << std::setw(digits) << number;
  return text.str();
}

/// A key holds no dot, behind which an extension would begin, and no blank, which an index can't have.
std::string key_of(std::int64_t position, const std::filesystem::path& file) {
  std::string name = file.stem().string();
  std::replace_if(
      name.begin(), name.end(),
      [](unsigned char letter) { return letter <= ' ' || letter == '.' || letter >= 127; }, '_');
  constexpr std::size_t kMostLetters = 64;  // a tar header has room for a hundred
  return concat(numbered(position, 8), "_", name.substr(0, kMostLetters));
}

std::vector<std::int64_t> order_of(std::int64_t size, bool shuffled) {
  if (shuffled) {
    return *EpochOrder(size, size, /*world_size=*/1, /*seed=*/0).permutation(0);
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

/// What a picture is shrunk to; its own extent where it is not.
Extent shrunk(Extent extent, const PackConfig& config) {
  const std::int64_t side =
      config.max_side > 0 ? std::max(extent.height, extent.width) : std::min(extent.height, extent.width);
  const std::int64_t most = config.max_side > 0 ? config.max_side : config.short_side;
  if (most == 0 || side <= most) {
    return extent;
  }
  const auto scaled = [&](std::int64_t length) {
    return std::max<std::int64_t>(1, (length * most + side / 2) / side);
  };
  return {scaled(extent.height), scaled(extent.width)};
}

/// Makes of stored pictures what a shard holds. One a thread.
class Shrinker {
 public:
  Shrinker(const ImageSource& source, const PackConfig& config) : source_(source), config_(config) {}

  /// The bytes that stand for a picture, until the next one. Throws Error(input) naming it.
  std::span<const std::byte> bytes_of(std::int64_t index) {
    source_.read(index, stored_);
    try {
      if (config_.max_side == 0 && config_.short_side == 0) {
        decoder_.open(stored_);  // a header at least: what is no picture should not get into a shard
        return stored_.file;
      }
      const Extent extent = decoder_.open(stored_);
      const Extent target = shrunk(extent, config_);
      return target == extent ? std::span<const std::byte>(stored_.file) : written_anew(target);
    } catch (const Error& failure) {
      throw undecodable(source_, index, failure);
    }
  }

 private:
  std::span<const std::byte> written_anew(Extent target) {
    const Image& whole = decoder_.whole();
    small_.resize(target, whole.channels);
    resampler_.resample({PixelView::of(whole), FractionalBox::whole(whole.extent())}, target,
                        /*is_mirrored=*/false, small_.values());
    if (const std::string failure = encode_jpeg(small_, config_.quality, file_); !failure.empty()) {
      throw Error(ErrorKind::input, failure);
    }
    return file_;
  }

  const ImageSource& source_;
  const PackConfig& config_;
  StoredImage stored_;
  Decoder decoder_;
  Resampler resampler_;
  Image small_;
  std::vector<std::byte> file_;
};

/// By its content: ImageNet has a PNG named .JPEG.
const char* extension_of(std::span<const std::byte> picture) {
  return picture.front() == std::byte{0xFF} ? ".jpg" : ".png";
}

struct Written {
  std::uint64_t digest = 0;  ///< of a picture
  std::int64_t label = 0;
};

void compare(const InputFile& shard, const std::vector<StoredSample>& samples,
             const std::vector<Written>& written) {
  bool same = samples.size() == written.size();
  std::vector<std::byte> bytes;
  std::string label;
  for (std::size_t i = 0; same && i < samples.size(); ++i) {
    bytes.resize(samples[i].image_bytes);
    shard.read_at(samples[i].image_offset, bytes);
    label.resize(samples[i].label_bytes);
    shard.read_at(samples[i].label_offset, std::as_writable_bytes(std::span(label)));
    same = digest_of(bytes) == written[i].digest && label == std::to_string(written[i].label);
  }
  if (!same) {
    throw Error(ErrorKind::io,
                concat("the shard ", shard.path().string(),
                       " does not hold what was written to it: check the disk, remove the file, "
                       "and pack again"));
  }
}

/// One split's pictures, shard by shard.
class Packer {
 public:
  Packer(const ImageSource& source, const PackConfig& config, const PackReport& report)
      : source_(source), config_(config), report_(report), order_(order_of(source.size(), config.shuffled)) {}

  [[nodiscard]] std::int64_t shards() const {
    return (source_.size() + config_.per_shard - 1) / config_.per_shard;
  }

  void pack(std::int64_t number, const std::filesystem::path& path) {
    const bool was_there = std::filesystem::exists(path) && std::filesystem::exists(index_path(path));
    if (!was_there && !write(number, path)) {
      return;
    }
    const InputFile shard(path);
    const auto index = read_whole(index_path(path));
    const auto samples =
        parse_index({reinterpret_cast<const char*>(index.data()), index.size()}, shard.size()).size();
    const std::lock_guard lock(mutex_);
    packed_.shards += 1;
    packed_.kept += was_there ? 1 : 0;
    packed_.images += static_cast<std::int64_t>(samples);
    packed_.bytes += shard.size();
    report_.on_shard(concat(was_there ? "there already: " : "written: ", path.string(), ", ", samples,
                            " pictures (", packed_.shards, " of ", shards(), " shards)"));
  }

  [[nodiscard]] const Packed& packed() const { return packed_; }

 private:
  /// Whether there was a picture to be written.
  bool write(std::int64_t number, const std::filesystem::path& path) {
    const std::vector<Written> written = write_shard(number, path);
    if (written.empty()) {
      report_.on_bad_image(concat(path.string(), ", all of whose pictures are bad"));
      return false;
    }
    const InputFile shard(path);
    const std::string index = make_index(shard);
    compare(shard, parse_index(index, shard.size()), written);
    write_atomically(index_path(path), std::as_bytes(std::span(index)));
    return true;
  }

  std::vector<Written> write_shard(std::int64_t number, const std::filesystem::path& path) {
    ShardWriter shard(path);
    Shrinker shrinker(source_, config_);
    std::vector<Written> written;
    const std::int64_t end = std::min(source_.size(), (number + 1) * config_.per_shard);
    for (std::int64_t position = number * config_.per_shard; position < end; ++position) {
      const std::int64_t index = order_[static_cast<std::size_t>(position)];
      try {
        const auto picture = shrinker.bytes_of(index);
        const std::string key = key_of(position, source_.name(index));
        const std::string label = std::to_string(source_.label(index));
        shard.add(key + ".cls", std::as_bytes(std::span(label)));
        shard.add(key + extension_of(picture), picture);
        written.push_back({digest_of(picture), source_.label(index)});
      } catch (const Error& failure) {
        skip_or_rethrow(failure);
      }
    }
    if (!written.empty()) {
      shard.commit();
    }
    return written;
  }

  void skip_or_rethrow(const Error& failure) {
    if (config_.bad_images == BadImages::error || failure.kind() != ErrorKind::input) {
      throw;
    }
    const std::lock_guard lock(mutex_);
    ++packed_.skipped;
    report_.on_bad_image(failure.what());
  }

  const ImageSource& source_;
  const PackConfig& config_;
  const PackReport& report_;
  std::vector<std::int64_t> order_;
  std::mutex mutex_;
  Packed packed_;
};

}  // namespace

void PackConfig::validate() const {
  constexpr std::int64_t kMostSide = 1 << 16;
  constexpr int kMostThreads = 1024;
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::usage, what); };
  if (max_side < 0 || max_side > kMostSide || short_side < 0 || short_side > kMostSide) {
    refuse(concat("expected 0 to ", kMostSide, " pixels (--max-side, --short-side)"));
  }
  if (max_side > 0 && short_side > 0) {
    refuse("--max-side beside --short-side: expected one of them");
  }
  if (quality < 1 || quality > 100) {
    refuse(concat("quality = ", quality, ": expected 1 to 100 (--quality)"));
  }
  if (per_shard < 1) {
    refuse(concat("per_shard = ", per_shard, ": expected at least 1 (--per-shard)"));
  }
  if (threads < 1 || threads > kMostThreads) {
    refuse(concat("workers = ", threads, ": expected 1 to ", kMostThreads, " (--workers)"));
  }
}

Packed pack(const ImageSource& source, const std::filesystem::path& folder, const std::string& name,
            const PackConfig& config, const PackReport& report) {
  config.validate();
  Packer packer(source, config, report);
  in_parallel(static_cast<std::size_t>(packer.shards()), static_cast<std::size_t>(config.threads),
              [&](std::size_t number) {
                const auto shard = static_cast<std::int64_t>(number);
                packer.pack(shard, folder / concat(name, "-", numbered(shard, 6), ".tar"));
              });
  if (packer.packed().shards == 0) {
    throw Error(ErrorKind::input, concat("none of the ", source.size(), " pictures of ", name,
                                         " can be decoded: there is nothing to pack"));
  }
  return packer.packed();
}

}  // namespace slicereduce
