#include "imagenet/idx_source.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr std::int64_t kClasses = 10;
// Deflate can't expand by more than 1032 (https://zlib.net/zlib_tech.html).
constexpr std::uint64_t kMostExpansion = 1032;

std::filesystem::path images_name(Split split) {
  return split == Split::train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte";
}

std::filesystem::path labels_name(Split split) {
  return split == Split::train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte";
}

std::optional<std::filesystem::path> find_plain_or_gzip(const std::filesystem::path& plain) {
  const std::filesystem::path gzip = plain.string() + ".gz";
  for (const auto& path : {plain, gzip}) {
    if (std::filesystem::is_regular_file(path)) {
      return path;
    }
  }
  return std::nullopt;
}

std::filesystem::path need_plain_or_gzip(const std::filesystem::path& plain) {
  if (auto path = find_plain_or_gzip(plain)) {
    return *path;
  }
  throw Error(ErrorKind::input, concat("missing ", plain.string(),
                                       " (also looked for it with .gz): copy it there "
                                       "or check --data"));
}

/// A file of unsigned bytes in the IDX format, read from front to end; zlib passes plain files through.
class IdxFile {
 public:
  explicit IdxFile(const std::filesystem::path& path)
      : path_(path), stored_bytes_(std::filesystem::file_size(path)), file_(gzopen(path.c_str(), "rb")) {
    if (file_ == nullptr) {
      fail("it can't be opened");
    }
  }
  ~IdxFile() { gzclose_r(file_); }
  IdxFile(const IdxFile&) = delete;
  IdxFile& operator=(const IdxFile&) = delete;

  /// The lengths of the `dimensions` that the header must announce.
  std::vector<std::uint64_t> read_header(std::uint32_t dimensions) {
    constexpr std::uint32_t kUnsignedBytes = 0x0800;
    if (read_big_endian() != (kUnsignedBytes | dimensions)) {
      fail(concat("it is no IDX file of unsigned bytes with ", dimensions, " dimension(s)"));
    }
    std::vector<std::uint64_t> lengths(dimensions);
    std::generate(lengths.begin(), lengths.end(), [this] { return read_big_endian(); });
    return lengths;
  }

  /// The `count` bytes up to the end of the file. Memory grows with what is there: even within what a gzip
  /// file of this size can hold, the header may announce a thousand times what is in it.
  std::vector<std::uint8_t> read_rest(std::uint64_t count) {
    constexpr std::uint64_t kMostAtOnce = 1 << 24;
    if (count > stored_bytes_ * (gzdirect(file_) ? 1 : kMostExpansion)) {
      fail(concat("its header announces ", count, " bytes, more than its ", stored_bytes_, " can hold"));
    }
    std::vector<std::uint8_t> bytes;
    while (bytes.size() < count) {
      const std::size_t got = bytes.size();
      bytes.resize(got + std::min(count - got, kMostAtOnce));
      read(std::span(bytes).subspan(got));
    }
    std::array<std::uint8_t, 1> beyond{};
    // Reading past the end is also what makes zlib check the sum at the end of the file.
    const int extra = gzread(file_, beyond.data(), 1);
    if (int code = Z_OK; extra < 0 || (gzerror(file_, &code), code != Z_OK)) {
      fail(gzip_message());
    }
    if (extra > 0) {
      fail("it goes on after its last item");
    }
    return bytes;
  }

  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorKind::input,
                concat("cannot read ", path_.string(), ": ", reason, "; download it again"));
  }

 private:
  void read(std::span<std::uint8_t> bytes) {
    while (!bytes.empty()) {
      const int got = gzread(file_, bytes.data(), static_cast<unsigned>(bytes.size()));
      if (got <= 0) {
        fail(got == 0 ? "it is truncated" : gzip_message());
      }
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
  }

  std::uint32_t read_big_endian() {
    std::array<std::uint8_t, 4> bytes{};
    read(bytes);
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
           bytes[3];
  }

  std::string gzip_message() const {
    int code = 0;
    return gzerror(file_, &code);
  }

  std::filesystem::path path_;
  std::uint64_t stored_bytes_;
  gzFile file_;
};

}  // namespace

bool is_idx_folder(const std::filesystem::path& folder) {
  return find_plain_or_gzip(folder / images_name(Split::train)) ||
         find_plain_or_gzip(folder / images_name(Split::validation));
}

IdxSource::IdxSource(const std::filesystem::path& folder, Split split) {
  IdxFile images(need_plain_or_gzip(folder / images_name(split)));
  const auto lengths = images.read_header(3);
  const std::uint64_t count = lengths[0];
  // 2^32 * 2^15 * 2^15 still fits into 64 bits.
  if (count == 0 || std::clamp<std::uint64_t>(lengths[1], 1, 1 << 15) != lengths[1] ||
      std::clamp<std::uint64_t>(lengths[2], 1, 1 << 15) != lengths[2]) {
    images.fail(
        concat("its header announces ", count, " pictures of ", lengths[1], " x ", lengths[2], " pixels"));
  }
  extent_ = {static_cast<std::int64_t>(lengths[1]), static_cast<std::int64_t>(lengths[2])};
  pixels_ = images.read_rest(count * lengths[1] * lengths[2]);

  IdxFile labels(need_plain_or_gzip(folder / labels_name(split)));
  if (const auto label_count = labels.read_header(1)[0]; label_count != count) {
    labels.fail(concat("it holds ", label_count, " labels for ", count, " pictures"));
  }
  labels_ = labels.read_rest(count);
  const auto wrong =
      std::find_if(labels_.begin(), labels_.end(), [](std::uint8_t label) { return label >= kClasses; });
  if (wrong != labels_.end()) {
    labels.fail(
        concat("label ", wrong - labels_.begin(), " is ", int{*wrong}, ", expected 0 to ", kClasses - 1));
  }
}

std::int64_t IdxSource::num_classes() const { return kClasses; }

std::int64_t IdxSource::label(std::int64_t index) const {
  return labels_.at(static_cast<std::size_t>(index));
}

void IdxSource::read(std::int64_t index, StoredImage& into) const {
  require(index >= 0 && index < size(), "IdxSource: index out of range");
  into.is_file = false;
  into.image.resize(extent_, 1);
  const std::int64_t numel = extent_.height * extent_.width;
  std::copy_n(pixels_.begin() + index * numel, numel, into.image.pixels.begin());
}

std::string IdxSource::name(std::int64_t index) const { return concat("IDX picture ", index); }

std::uint64_t IdxSource::fingerprint() const {
  const std::array<std::int64_t, 3> shape{size(), extent_.height, extent_.width};
  return Digest()
      .add_text("mnist")
      .add_values(std::span<const std::int64_t>(shape))
      .add_values(std::span<const std::uint8_t>(pixels_))
      .add_values(std::span<const std::uint8_t>(labels_))
      .value();
}

}  // namespace slicereduce
