// A shard whose index is made and read.

#include "imagenet/shard_index.hpp"
#include "tests/fuzz/coverage/refused.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  using namespace slicereduce;
  static const std::filesystem::path path = fuzz::scratch_folder() / "shard.tar";
  fuzz::put(path, bytes, count);
  return fuzz::read_or_refuse([] {
    const InputFile shard(path);
    for (const StoredSample& sample : parse_index(make_index(shard), shard.size())) {
      std::vector<std::byte> picture(sample.image_bytes);
      shard.read_at(sample.image_offset, picture);
      (void)header_before(shard, sample.image_offset);
    }
  });
}
