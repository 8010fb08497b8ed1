#include "imagenet/view_writer.hpp"

#include "core/error.hpp"

namespace slicereduce {

namespace {

/// Adds the time of its life to a sum.
class Stopwatch {
 public:
  explicit Stopwatch(std::chrono::nanoseconds& sum) : sum_(sum) {}
  ~Stopwatch() { sum_ += std::chrono::steady_clock::now() - began_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  std::chrono::nanoseconds& sum_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

template <typename Work>
decltype(auto) timed(std::chrono::nanoseconds& sum, Work work) {
  const Stopwatch stopwatch(sum);
  return work();
}

}  // namespace

ViewTimes& ViewTimes::operator+=(const ViewTimes& other) {
  read += other.read;
  decode += other.decode;
  resize += other.resize;
  return *this;
}

ViewTimes ViewTimes::operator-(const ViewTimes& other) const {
  return {read - other.read, decode - other.decode, resize - other.resize};
}

template <typename Work>
auto ViewWriter::decoding(std::int64_t index, Work work) {
  try {
    return work();
  } catch (const Error& failure) {
    throw undecodable(source_, index, failure);
  }
}

Variation ViewWriter::write_training_view(std::int64_t index, const TransformConfig& config,
                                          RandomStream& random, std::span<std::uint8_t> row) {
  if (config.augment == Augment::none) {
    write_evaluation_view(index, config, row);
    return {};
  }
  timed(times_.read, [&] { source_.read(index, stored_); });
  return decoding(index, [&] {
    const Extent extent = timed(times_.decode, [&] { return decoder_.open(stored_); });
    const Variation variation = draw_variation(extent, config, random);
    const Region region = timed(times_.decode, [&] { return decoded(variation.box, config); });
    timed(times_.resize, [&] { write_varied_view(region, variation, config, resampler_, row); });
    return variation;
  });
}

void ViewWriter::write_evaluation_view(std::int64_t index, const TransformConfig& config,
                                       std::span<std::uint8_t> row) {
  timed(times_.read, [&] { source_.read(index, stored_); });
  decoding(index, [&] {
    const Image& image = timed(times_.decode, [&]() -> const Image& {
      decoder_.open(stored_);
      return decoder_.whole();
    });
    timed(times_.resize, [&] { slicereduce::write_evaluation_view(image, config, resampler_, row); });
  });
}

Region ViewWriter::decoded(const CropBox& box, const TransformConfig& config) {
  if (config.decode == DecodeExtent::whole) {
    return Region::cropped(decoder_.whole(), box);
  }
  return decoder_.part(box, {config.image_size, config.image_size});
}

}  // namespace slicereduce
