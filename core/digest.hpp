#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace slicereduce {

/// A 64-bit XXH3 digest of a sequence of bytes, the same on every machine of one byte order.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  Digest& add(std::span<const std::byte> bytes);
  template <typename T>
  Digest& add_values(std::span<const T> values) {
    return add(std::as_bytes(values));
  }
  Digest& add_text(const std::string& text);

  [[nodiscard]] std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::uint64_t digest_of(std::span<const std::byte> bytes);

/// The 128-bit XXH3 digest: for whole files, where 64 bits would leave room for an accident.
struct Digest128 {
  std::uint64_t low;
  std::uint64_t high;
  bool operator==(const Digest128&) const = default;
};
[[nodiscard]] Digest128 digest128_of(std::span<const std::byte> bytes);

/// digest128_of() bytes that come in pieces.
class RunningDigest128 {
 public:
  RunningDigest128();
  ~RunningDigest128();
  RunningDigest128(const RunningDigest128&) = delete;
  RunningDigest128& operator=(const RunningDigest128&) = delete;

  void add(std::span<const std::byte> bytes);
  [[nodiscard]] Digest128 value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 16 lower-case hexadecimal digits.
[[nodiscard]] std::string to_hex(std::uint64_t digest);

}  // namespace slicereduce
