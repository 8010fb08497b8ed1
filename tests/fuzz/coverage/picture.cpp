// A JPEG or PNG file: a part of it, and the whole, by one decoder for all inputs, as a loader's thread has
// it.

#include "imagenet/decoder.hpp"
#include "tests/fuzz/coverage/refused.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  using namespace slicereduce;
  static Decoder decoder;
  static StoredImage stored{.is_file = true};
  const auto* const first = reinterpret_cast<const std::byte*>(bytes);
  stored.file.assign(first, first + count);
  return fuzz::read_or_refuse([] {
    const Extent extent = decoder.open(stored);
    const CropBox box{extent.height / 3, extent.width / 3, (extent.height + 2) / 3, (extent.width + 2) / 3};
    (void)decoder.part(box, {1 + extent.height / 8, 1 + extent.width / 8});
    decoder.open(stored);
    (void)decoder.whole();
  });
}
