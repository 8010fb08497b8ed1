#include "core/zip_listing.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.12 to 4.3.16
constexpr std::string_view kEnd = "PK\5\6";
constexpr std::string_view kEnd64 = "PK\6\6";
constexpr std::string_view kEnd64Locator = "PK\6\7";
constexpr std::string_view kEntry = "PK\1\2";
constexpr std::size_t kEndSize = 22;
constexpr std::size_t kEnd64Size = 56;
constexpr std::size_t kLocatorSize = 20;
constexpr std::size_t kEntrySize = 46;
constexpr std::size_t kLongestComment = 0xFFFF;

/// A piece of the file, of which nothing is read that is not there.
class Piece {
 public:
  Piece(const ReadAt& read, std::uint64_t position, std::uint64_t size, const std::string& where)
      : bytes_(size), where_(where) {
    if (read(position, bytes_) != size) {
      fail();
    }
  }

  template <typename T>
  [[nodiscard]] std::uint64_t number(std::size_t at) const {
    if (at + sizeof(T) > bytes_.size()) {
      fail();
    }
    T value{};
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  [[nodiscard]] std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[noreturn]] void fail() const {
    throw Error(ErrorKind::input,
                concat(where_, ": damaged or cut short (its list of records can't be read)"));
  }

 private:
  std::vector<std::byte> bytes_;
  const std::string& where_;
};

struct Listing {
  std::uint64_t position = 0;
  std::uint64_t size = 0;
};

Listing find_listing(const ReadAt& read, std::uint64_t file_size, const std::string& where) {
  const std::uint64_t tail_size = std::min<std::uint64_t>(file_size, kEndSize + kLongestComment);
  const Piece tail(read, file_size - tail_size, tail_size, where);
  if (tail.size() < kEndSize) {
    tail.fail();
  }
  const std::size_t end = tail.text().rfind(kEnd, tail.size() - kEndSize);
  if (end == std::string_view::npos) {
    tail.fail();
  }
  const std::uint64_t end_position = file_size - tail_size + end;
  if (end_position >= kLocatorSize) {
    const Piece locator(read, end_position - kLocatorSize, kLocatorSize, where);
    if (locator.text().starts_with(kEnd64Locator)) {
      const Piece end64(read, locator.number<std::uint64_t>(8), kEnd64Size, where);
      if (!end64.text().starts_with(kEnd64)) {
        end64.fail();
      }
      return {.position = end64.number<std::uint64_t>(48), .size = end64.number<std::uint64_t>(40)};
    }
  }
  return {.position = tail.number<std::uint32_t>(end + 16), .size = tail.number<std::uint32_t>(end + 12)};
}

}  // namespace

void refuse_compressed_records(const ReadAt& read, std::uint64_t file_size, const std::string& where) {
  const Listing listing = find_listing(read, file_size, where);
  if (listing.size > file_size || listing.position > file_size - listing.size) {
    throw Error(ErrorKind::input, concat(where, ": damaged or cut short (its list of records is not in it)"));
  }
  const Piece entries(read, listing.position, listing.size, where);
  for (std::size_t at = 0; at < entries.size();) {
    if (!entries.text().substr(at).starts_with(kEntry)) {
      entries.fail();
    }
    if (entries.number<std::uint16_t>(at + 10) != 0) {
      throw Error(ErrorKind::input,
                  concat(where, ": holds a compressed record, as torch.save writes none: save it again"));
    }
    constexpr std::uint64_t kSaidElsewhere = 0xFFFFFFFF;
    if (const auto size = entries.number<std::uint32_t>(at + 24);
        size != kSaidElsewhere && size > file_size) {
      entries.fail();
    }
    at += kEntrySize + entries.number<std::uint16_t>(at + 28) + entries.number<std::uint16_t>(at + 30) +
          entries.number<std::uint16_t>(at + 32);
  }
}

}  // namespace slicereduce
