// An IDX file of pictures, plain or gzip, beside labels that are in order.

#include <array>

#include "imagenet/idx_source.hpp"
#include "tests/fuzz/coverage/refused.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  using namespace slicereduce;
  constexpr std::array<std::uint8_t, 11> kLabels{0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2};
  static const std::filesystem::path folder = fuzz::scratch_folder();
  fuzz::put(folder / "t10k-labels-idx1-ubyte", kLabels.data(), kLabels.size());
  fuzz::put(folder / "t10k-images-idx3-ubyte", bytes, count);
  return fuzz::read_or_refuse([] {
    const IdxSource source(folder, Split::validation);
    StoredImage stored;
    for (std::int64_t i = 0; i < source.size(); ++i) {
      source.read(i, stored);
    }
  });
}
