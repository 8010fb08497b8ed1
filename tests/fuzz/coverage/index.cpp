// The text of an index; of a shard whose size is in the first two bytes.

#include <string_view>

#include "imagenet/shard_index.hpp"
#include "tests/fuzz/coverage/refused.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  using namespace slicereduce;
  if (count < 2) {
    return 0;
  }
  const std::uint64_t shard_bytes = 64 * (256 * std::uint64_t{bytes[0]} + bytes[1]);
  const std::string_view text(reinterpret_cast<const char*>(bytes + 2), count - 2);
  return fuzz::read_or_refuse([&] {
    for (const StoredSample& sample : parse_index(text, shard_bytes)) {
      if (sample.image_offset + sample.image_bytes > shard_bytes ||
          sample.label_offset + sample.label_bytes > shard_bytes) {
        __builtin_trap();
      }
    }
  });
}
