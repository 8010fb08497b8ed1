#include "imagenet/shard_index.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <memory>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

constexpr std::uint64_t kBlock = 512;                         // of tar
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;  // of a picture

std::uint64_t in_whole_blocks(std::uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

/// libarchive's view of a shard. What is skipped is not read.
class TarReader {
 public:
  explicit TarReader(const InputFile& shard) : shard_(shard), handle_(archive_read_new()) {
    archive_read_support_format_tar(handle_.get());
    archive_read_set_callback_data(handle_.get(), this);
    archive_read_set_read_callback(handle_.get(), [](archive*, void* self, const void** bytes) {
      return static_cast<TarReader*>(self)->read(bytes);
    });
    archive_read_set_skip_callback(handle_.get(), [](archive*, void* self, la_int64_t bytes) {
      return static_cast<TarReader*>(self)->skip(bytes);
    });
    check(archive_read_open1(handle_.get()));
  }

  /// The next member's header, or nothing at the end.
  archive_entry* next() {
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(handle_.get(), &entry);
    if (code == ARCHIVE_EOF) {
      return nullptr;
    }
    check(code);
    return entry;
  }
  /// Where the last header began, or the end mark.
  [[nodiscard]] std::uint64_t header_position() const {
    return static_cast<std::uint64_t>(archive_read_header_position(handle_.get()));
  }

 private:
  struct Free {
    void operator()(archive* handle) const { archive_read_free(handle); }
  };

  void check(int code) {
    // A warning (of a checksum, of a name that this locale does not know) lets libarchive go on.
    if (code < ARCHIVE_WARN) {
      const char* why = archive_error_string(handle_.get());
      throw Error(ErrorKind::input,
                  concat("cannot read the shard ", shard_.path().string(), ": ", why == nullptr ? "" : why,
                         "; expected a whole tar file, not compressed"));
    }
  }

  la_ssize_t read(const void** bytes) {
    const std::uint64_t count = std::min<std::uint64_t>(buffer_.size(), shard_.size() - position_);
    try {
      shard_.read_at(position_, std::span(buffer_).first(count));
    } catch (const Error& failure) {  // libarchive is C
      archive_set_error(handle_.get(), EIO, "%s", failure.what());
      return ARCHIVE_FATAL;
    }
    position_ += count;
    *bytes = buffer_.data();
    return static_cast<la_ssize_t>(count);
  }

  la_int64_t skip(la_int64_t bytes) {
    const std::uint64_t count =
        std::min<std::uint64_t>(static_cast<std::uint64_t>(bytes), shard_.size() - position_);
    position_ += count;
    return static_cast<la_int64_t>(count);
  }

  const InputFile& shard_;
  std::unique_ptr<archive, Free> handle_;
  std::uint64_t position_ = 0;
  std::array<std::byte, 4 * kBlock> buffer_{};  // the label, its header and the picture's, where all is small
};

struct Member {
  std::string path;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

std::string path_of(archive_entry* entry) {
  // Of the two one is missing where the locale does not know the letters.
  const char* path = archive_entry_pathname(entry);
  path = path == nullptr ? archive_entry_pathname_utf8(entry) : path;
  return path == nullptr ? "" : path;
}

/// All files of a shard, in their order.
std::vector<Member> list_members(const InputFile& shard) {
  TarReader reader(shard);
  std::vector<Member> members;
  archive_entry* entry = reader.next();
  while (entry != nullptr) {
    Member member{.path = path_of(entry), .bytes = static_cast<std::uint64_t>(archive_entry_size(entry))};
    const bool is_file =
        archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == nullptr;
    const bool is_whole = archive_entry_sparse_count(entry) == 0;
    entry = reader.next();
    if (!is_file) {
      continue;
    }
    // A header may be several (long names): what is certain is where the next one begins.
    const std::uint64_t end = reader.header_position();
    if (!is_whole || member.bytes > shard.size() || end < in_whole_blocks(member.bytes) ||
        end > shard.size()) {
      throw Error(ErrorKind::input,
                  concat("the shard ", shard.path().string(), ": its member ", member.path, " of ",
                         member.bytes, " bytes is cut off or sparse; write the shard again"));
    }
    member.offset = end - in_whole_blocks(member.bytes);
    members.push_back(std::move(member));
  }
  return members;
}

bool has_blank(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char letter) { return std::isspace(letter) != 0; });
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return lower;
}

/// Words of a line, one after the other.
class Words {
 public:
  Words(std::string_view line, std::size_t number) : rest_(line), number_(number) {}

  /// Empty at the end.
  std::string_view next() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \r\t"), rest_.size()));
    const auto word = rest_.substr(0, rest_.find_first_of(" \r\t"));
    rest_.remove_prefix(word.size());
    return word;
  }
  std::uint64_t next_number() {
    const auto word = next();
    std::uint64_t value = 0;
    const auto [end, problem] = std::from_chars(word.begin(), word.end(), value);
    if (problem != std::errc() || end != word.end()) {
      refuse(concat("'", word, "' is no number"));
    }
    return value;
  }
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::input, concat("line ", number_, ": ", why));
  }

 private:
  std::string_view rest_;
  std::size_t number_;
};

enum class Component { picture, label, other };

Component component_of(std::string_view extension) {
  const std::string lower = lower_case(extension);
  if (lower == "jpg" || lower == "jpeg" || lower == "png") {
    return Component::picture;
  }
  return lower == "cls" ? Component::label : Component::other;
}

StoredSample parse_sample(Words words, bool has_paths, std::uint64_t shard_bytes) {
  StoredSample sample;
  int pictures = 0;
  int labels = 0;
  for (auto extension = words.next(); !extension.empty(); extension = words.next()) {
    const std::uint64_t offset = words.next_number();
    const std::uint64_t bytes = words.next_number();
    if (has_paths && words.next().empty()) {
      words.refuse("a path is missing");
    }
    if (offset % kBlock != 0) {
      words.refuse(concat("offset ", offset, " is no multiple of ", kBlock));
    }
    if (bytes > shard_bytes || offset > shard_bytes - bytes) {
      words.refuse(concat(bytes, " bytes at ", offset, " are not within the shard's ", shard_bytes));
    }
    const Component component = component_of(extension);
    if (component != Component::other && bytes > kMostBytes) {
      words.refuse(concat("a ", extension, " of ", bytes, " bytes"));
    }
    if (component == Component::picture) {
      sample.image_offset = offset;
      sample.image_bytes = static_cast<std::uint32_t>(bytes);
      ++pictures;
    } else if (component == Component::label) {
      sample.label_offset = offset;
      sample.label_bytes = static_cast<std::uint32_t>(bytes);
      ++labels;
    }
  }
  if (pictures != 1 || labels != 1) {
    words.refuse(
        concat("expected a picture (jpg, jpeg or png) and a label (cls), found ", pictures, " and ", labels));
  }
  return sample;
}

}  // namespace

MemberName split_member_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::size_t dot = path.find('.', slash == std::string_view::npos ? 0 : slash + 1);
  if (dot == std::string_view::npos) {
    return {path, ""};
  }
  return {path.substr(0, dot), path.substr(dot + 1)};
}

std::filesystem::path index_path(const std::filesystem::path& shard) {
  return std::filesystem::path(shard).replace_extension(".idx");
}

std::string make_index(const InputFile& shard) {
  const auto members = list_members(shard);
  const bool has_paths = std::none_of(members.begin(), members.end(),
                                      [](const Member& member) { return has_blank(member.path); });
  std::string lines;
  std::int64_t samples = 0;
  std::string_view key;
  for (const Member& member : members) {
    const MemberName name = split_member_name(member.path);
    // Hidden files, and what WebDataset says of itself.
    if (name.key.empty() || name.key.ends_with('/') || name.extension.empty() || has_blank(name.extension)) {
      continue;
    }
    const bool is_next = samples == 0 || name.key != key;
    lines += is_next ? (samples == 0 ? "" : "\n") : " ";
    lines += concat(name.extension, " ", member.offset, " ", member.bytes);
    if (has_paths) {
      lines += concat(" ", member.path);
    }
    samples += is_next ? 1 : 0;
    key = name.key;
  }
  if (samples == 0) {
    throw Error(ErrorKind::input, concat("the shard ", shard.path().string(),
                                         " holds no sample: expected KEY.jpg and KEY.cls"));
  }
  return concat(has_paths ? "v1.2 " : "v1.1 ", samples, "\n", lines, "\n");
}

std::vector<StoredSample> parse_index(std::string_view text, std::uint64_t shard_bytes) {
  std::size_t number = 1;
  const auto next_line = [&text] {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
  };
  Words head(next_line(), number);
  const auto version = head.next();
  if (version != "v1.2" && version != "v1.1") {
    head.refuse(concat("'", version, "' is no version that is known: expected v1.1 or v1.2"));
  }
  const std::uint64_t samples = head.next_number();
  if (samples == 0 || samples > text.size()) {  // before memory is taken for them
    head.refuse(concat("it announces ", samples, " samples, and has ", text.size(), " bytes"));
  }
  std::vector<StoredSample> index;
  index.reserve(samples);
  while (index.size() < samples) {
    if (text.empty()) {
      head.refuse(concat(samples, " samples are announced, ", index.size(), " follow"));
    }
    index.push_back(parse_sample(Words(next_line(), ++number), version == "v1.2", shard_bytes));
  }
  return index;
}

std::optional<MemberHeader> header_before(const InputFile& shard, std::uint64_t offset) {
  if (offset < kBlock || offset > shard.size()) {
    return std::nullopt;
  }
  std::array<std::byte, kBlock> header{};
  shard.read_at(offset - kBlock, header);
  struct Free {
    void operator()(archive* handle) const { archive_read_free(handle); }
  };
  const std::unique_ptr<archive, Free> handle(archive_read_new());
  archive_read_support_format_tar(handle.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(handle.get(), header.data(), header.size()) != ARCHIVE_OK ||
      archive_read_next_header(handle.get(), &entry) < ARCHIVE_WARN) {
    return std::nullopt;
  }
  return MemberHeader{path_of(entry), static_cast<std::uint64_t>(archive_entry_size(entry))};
}

}  // namespace slicereduce
