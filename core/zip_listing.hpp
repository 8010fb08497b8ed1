#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace slicereduce {

/// Reads at a place of a file as many bytes as there are, and says how many.
using ReadAt = std::function<std::size_t(std::uint64_t position, std::span<std::byte> out)>;

/// LibTorch's reader takes as much memory as a record says that it comes to, some before it can be asked. So
/// this goes through an archive's listing before: torch.save compresses nothing, and what is not compressed
/// is not longer than its file. Throws Error(input) naming `where` for an archive without a listing, and for
/// one with a compressed record.
void refuse_compressed_records(const ReadAt& read, std::uint64_t file_size, const std::string& where);

}  // namespace slicereduce
