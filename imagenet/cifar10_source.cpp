#include "imagenet/cifar10_source.hpp"

#include <cstddef>
#include <span>
#include <string>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "core/input_file.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr std::int64_t kClasses = 10;
constexpr std::int64_t kSide = 32;
constexpr std::int64_t kPlane = kSide * kSide;
constexpr std::int64_t kRecord = 1 + 3 * kPlane;

std::vector<std::string> file_names(Split split) {
  if (split == Split::validation) {
    return {"test_batch.bin"};
  }
  return {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
}

std::optional<std::filesystem::path> find_batches(const std::filesystem::path& folder) {
  for (const auto& place : {folder, folder / "cifar-10-batches-bin"}) {
    if (std::filesystem::exists(place / file_names(Split::train).front()) ||
        std::filesystem::exists(place / file_names(Split::validation).front())) {
      return place;
    }
  }
  return std::nullopt;
}

std::vector<std::byte> read_records(const std::filesystem::path& path) {
  std::vector<std::byte> bytes = read_whole(path);
  const auto fail = [&path](const std::string& reason) {
    throw Error(ErrorKind::input, concat("cannot read ", path.string(), ": ", reason, "; download it again"));
  };
  if (bytes.empty() || bytes.size() % kRecord != 0) {
    fail(concat("its ", bytes.size(), " bytes are no whole number of pictures of ", kRecord, " bytes"));
  }
  for (std::size_t at = 0; at < bytes.size(); at += kRecord) {
    if (const int label = std::to_integer<int>(bytes[at]); label >= kClasses) {
      fail(concat("label ", at / kRecord, " is ", label, ", expected 0 to ", kClasses - 1));
    }
  }
  return bytes;
}

}  // namespace

bool is_cifar10_folder(const std::filesystem::path& folder) { return find_batches(folder).has_value(); }

Cifar10Source::Cifar10Source(const std::filesystem::path& folder, Split split) {
  const std::filesystem::path place = find_batches(folder).value_or(folder);
  for (const auto& name : file_names(split)) {
    const auto bytes = read_records(place / name);
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    records_.insert(records_.end(), first, first + bytes.size());
  }
}

std::int64_t Cifar10Source::size() const { return static_cast<std::int64_t>(records_.size()) / kRecord; }

std::int64_t Cifar10Source::num_classes() const { return kClasses; }

const std::uint8_t* Cifar10Source::record(std::int64_t index) const {
  require(index >= 0 && index < size(), "Cifar10Source: index out of range");
  return records_.data() + index * kRecord;
}

std::int64_t Cifar10Source::label(std::int64_t index) const { return *record(index); }

void Cifar10Source::read(std::int64_t index, StoredImage& into) const {
  into.is_file = false;
  Image& image = into.image;
  image.resize({kSide, kSide}, 3);
  const std::uint8_t* planes = record(index) + 1;
  for (std::size_t pixel = 0; pixel < kPlane; ++pixel) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      image.pixels[3 * pixel + channel] = planes[channel * kPlane + pixel];
    }
  }
}

std::string Cifar10Source::name(std::int64_t index) const { return concat("CIFAR-10 record ", index); }

std::uint64_t Cifar10Source::fingerprint() const {
  return Digest().add_text("cifar10").add_values(std::span<const std::uint8_t>(records_)).value();
}

std::optional<Extent> Cifar10Source::fixed_extent() const { return Extent{kSide, kSide}; }

}  // namespace slicereduce
