#include "core/pickle.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <span>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

static_assert(std::endian::native == std::endian::little, "pickles and torch's records are little-endian");

struct StorageClass {
  std::string_view name;
  c10::ScalarType dtype;
};

constexpr std::array<StorageClass, 8> kStorageClasses{{
    {"torch FloatStorage", c10::ScalarType::Float},
    {"torch DoubleStorage", c10::ScalarType::Double},
    {"torch HalfStorage", c10::ScalarType::Half},
    {"torch BFloat16Storage", c10::ScalarType::BFloat16},
    {"torch LongStorage", c10::ScalarType::Long},
    {"torch IntStorage", c10::ScalarType::Int},
    {"torch ByteStorage", c10::ScalarType::Byte},
    {"torch BoolStorage", c10::ScalarType::Bool},
}};

std::optional<PickleGlobal> accepted_global(std::string_view name) {
  using Kind = PickleGlobal::Kind;
  static constexpr std::array<std::pair<std::string_view, Kind>, 5> kGlobals{{
      {"collections OrderedDict", Kind::mapping},
      {"collections Counter", Kind::mapping},
      {"torch._utils _rebuild_tensor_v2", Kind::rebuild_tensor},
      {"torch._utils _rebuild_parameter", Kind::rebuild_parameter},
      {"torch Size", Kind::size},
  }};
  for (const auto& [accepted, kind] : kGlobals) {
    if (name == accepted) {
      return PickleGlobal{kind, c10::ScalarType::Undefined};
    }
  }
  for (const auto& storage : kStorageClasses) {
    if (name == storage.name) {
      return PickleGlobal{Kind::storage, storage.dtype};
    }
  }
  return std::nullopt;
}

/// Elements from the first to the last that `sizes` and `strides` reach; nothing where a number is
/// negative or overflows.
std::optional<std::int64_t> extent_of(const std::vector<std::int64_t>& sizes,
                                      const std::vector<std::int64_t>& strides) {
  std::int64_t numel = 1;
  std::int64_t last = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 0 || strides[i] < 0 || __builtin_mul_overflow(numel, sizes[i], &numel)) {
      return std::nullopt;
    }
  }
  // LibTorch counts bytes in 64 bits too; 16 is the widest element.
  if (numel > INT64_MAX / 16) {
    return std::nullopt;
  }
  if (numel == 0) {
    return 0;
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(sizes[i] - 1, strides[i], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return std::nullopt;
    }
  }
  std::int64_t extent = 0;
  return __builtin_add_overflow(last, 1, &extent) ? std::nullopt : std::optional(extent);
}

}  // namespace

bool is_storable(c10::ScalarType dtype) {
  return std::ranges::any_of(kStorageClasses,
                             [dtype](const StorageClass& storage) { return storage.dtype == dtype; });
}

PickleValue PickleDict::find(std::string_view key) const {
  for (const auto& [name, value] : items) {
    const auto* text = std::get_if<std::string_view>(&name);
    if (text != nullptr && *text == key) {
      return value;
    }
  }
  return std::monostate{};
}

/// The stack machine of https://github.com/python/cpython/blob/3.11/Lib/pickletools.py, as far as
/// torch.save (1.6 to 2.11, protocol 2) uses it.
class PickleParser {
 public:
  PickleParser(Pickle& pickle, const std::string& where) : pickle_(pickle), where_(where) {}

  PickleValue run() {
    if (byte() != 0x80 || byte() != 2) {
      fail("its pickle is not of protocol 2: save it again with torch.save's default protocol");
    }
    while (true) {
      const char opcode = static_cast<char>(byte());
      if (opcode == '.') {
        break;
      }
      if (!constant(opcode) && !container(opcode) && !memory(opcode) && !object(opcode)) {
        fail(concat("pickle instruction ", static_cast<int>(static_cast<unsigned char>(opcode)),
                    " is not one that torch.save writes for a state dict"));
      }
    }
    const PickleValue root = pop();
    if (!stack_.empty() || !marks_.empty()) {
      fail("its pickle ends too early");
    }
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::input, concat(where_, ": ", what, " (byte ", position_, " of data.pkl)"));
  }

  // --- bytes
  std::string_view text(std::uint64_t length) {
    if (length > pickle_.bytes_.size() - position_) {
      fail("its pickle is cut short");
    }
    const char* begin = reinterpret_cast<const char*>(pickle_.bytes_.data()) + position_;
    position_ += length;
    return {begin, static_cast<std::size_t>(length)};
  }
  unsigned char byte() { return static_cast<unsigned char>(text(1).front()); }
  template <typename T>
  T number() {
    T value{};
    std::memcpy(&value, text(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view line() {
    const std::size_t begin = position_;
    while (byte() != '\n') {
    }
    return {reinterpret_cast<const char*>(pickle_.bytes_.data()) + begin, position_ - 1 - begin};
  }

  // --- stack
  void push(const PickleValue& value) { stack_.push_back(value); }
  // A pop never reaches below the innermost mark.
  [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleValue& top() {
    if (stack_.size() <= floor()) {
      fail("its pickle takes more than it put");
    }
    return stack_.back();
  }
  PickleValue pop() {
    const PickleValue value = top();
    stack_.pop_back();
    return value;
  }
  std::vector<PickleValue> pop_many(std::size_t count) {
    if (stack_.size() - floor() < count) {
      fail("its pickle takes more than it put");
    }
    std::vector<PickleValue> values(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return values;
  }
  std::vector<PickleValue> pop_to_mark() {
    if (marks_.empty()) {
      fail("its pickle lacks a mark");
    }
    auto values = pop_many(stack_.size() - marks_.back());
    marks_.pop_back();
    return values;
  }
  template <typename T>
  T as(const PickleValue& value, const char* what) const {
    if (const T* found = std::get_if<T>(&value)) {
      return *found;
    }
    fail(concat("its pickle lacks ", what));
  }

  // --- owners
  PickleValue new_list(std::vector<PickleValue> items) {
    return &pickle_.lists_.emplace_back(PickleList{std::move(items)});
  }
  PickleValue new_dict() { return &pickle_.dicts_.emplace_back(); }
  // Every container that the stack refers to is one of ours, made mutable by being in a deque of ours.
  PickleList& list_on_top() { return const_cast<PickleList&>(*as<const PickleList*>(top(), "a list")); }
  PickleDict& dict_on_top() { return const_cast<PickleDict&>(*as<const PickleDict*>(top(), "a dict")); }

  // --- instructions
  bool constant(char opcode) {
    switch (opcode) {
      case 'N':
        push(std::monostate{});
        return true;
      case '\x88':
      case '\x89':
        push(opcode == '\x88');
        return true;
      case 'K':
        push(std::int64_t{number<std::uint8_t>()});
        return true;
      case 'M':
        push(std::int64_t{number<std::uint16_t>()});
        return true;
      case 'J':
        push(std::int64_t{number<std::int32_t>()});
        return true;
      case '\x8a':
        push(long_integer());
        return true;
      case 'G':
        push(big_endian_double());
        return true;
      case 'X':
        push(text(number<std::uint32_t>()));
        return true;
      default:
        return false;
    }
  }
  std::int64_t long_integer() {
    const std::string_view digits = text(number<std::uint8_t>());
    if (digits.size() > sizeof(std::int64_t)) {
      fail("an integer is wider than 64 bits");
    }
    const bool negative = !digits.empty() && (digits.back() & 0x80) != 0;
    std::int64_t value = negative ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    return value;
  }
  double big_endian_double() { return std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>())); }

  bool container(char opcode) {
    switch (opcode) {
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case '}':
        push(new_dict());
        return true;
      case ']':
      case ')':
        push(new_list({}));
        return true;
      case 't':
        push(new_list(pop_to_mark()));
        return true;
      case '\x85':
      case '\x86':
      case '\x87':
        push(new_list(pop_many(static_cast<std::size_t>(opcode - '\x84'))));
        return true;
      case 'a':
        append(pop_many(1));
        return true;
      case 'e':
        append(pop_to_mark());
        return true;
      case 's':
        set_items(pop_many(2));
        return true;
      case 'u':
        set_items(pop_to_mark());
        return true;
      default:
        return false;
    }
  }
  void append(const std::vector<PickleValue>& values) {
    auto& items = list_on_top().items;
    items.insert(items.end(), values.begin(), values.end());
  }
  void set_items(const std::vector<PickleValue>& values) {
    if (values.size() % 2 != 0) {
      fail("its pickle lacks the value of a key");
    }
    for (std::size_t i = 0; i < values.size(); i += 2) {
      dict_on_top().items.emplace_back(values[i], values[i + 1]);
    }
  }

  bool memory(char opcode) {
    switch (opcode) {
      case 'q':
        remember(number<std::uint8_t>());
        return true;
      case 'r':
        remember(number<std::uint32_t>());
        return true;
      case 'h':
        push(remembered(number<std::uint8_t>()));
        return true;
      case 'j':
        push(remembered(number<std::uint32_t>()));
        return true;
      default:
        return false;
    }
  }
  /// Python and LibTorch count up by one.
  void remember(std::uint32_t index) {
    if (index > memo_.size()) {
      fail("its pickle puts things aside out of order");
    }
    memo_.resize(std::max<std::size_t>(memo_.size(), index + std::size_t{1}));
    memo_[index] = top();
  }
  PickleValue remembered(std::uint32_t index) const {
    if (index >= memo_.size()) {
      fail("its pickle refers to what it never put");
    }
    return memo_[index];
  }

  bool object(char opcode) {
    switch (opcode) {
      case 'c':
        push(global());
        return true;
      case 'Q':
        push(storage(pop()));
        return true;
      case 'R':
        reduce();
        return true;
      case 'b':
        // The attributes of an OrderedDict (a state dict's _metadata): nothing that we use.
        (void)pop();
        (void)dict_on_top();
        return true;
      default:
        return false;
    }
  }
  PickleValue global() {
    const std::string_view module = line();
    const std::string name = concat(module, ' ', line());
    const auto accepted = accepted_global(name);
    if (!accepted) {
      fail(concat("it holds a Python object, ", printable(name),
                  ", which is refused: save a state dict of tensors, torch.save(model.state_dict(), file)"));
    }
    return *accepted;
  }
  PickleValue storage(const PickleValue& id) {
    const auto& items = as<const PickleList*>(id, "a storage's description")->items;
    if (items.size() != 5 || as<std::string_view>(items[0], "a storage's mark") != "storage") {
      fail("its pickle describes a storage in an unknown way");
    }
    const auto type = as<PickleGlobal>(items[1], "a storage's class");
    const auto numel = as<std::int64_t>(items[4], "a storage's length");
    if (type.kind != PickleGlobal::Kind::storage || numel < 0) {
      fail("its pickle describes a storage in an unknown way");
    }
    return &pickle_.storages_.emplace_back(
        PickledStorage{as<std::string_view>(items[2], "a storage's key"), type.dtype, numel});
  }

  void reduce() {
    const auto& arguments = as<const PickleList*>(pop(), "a call's arguments")->items;
    switch (const auto callee = as<PickleGlobal>(pop(), "what to call"); callee.kind) {
      case PickleGlobal::Kind::mapping:
        return push(mapping(arguments));
      case PickleGlobal::Kind::rebuild_tensor:
        return push(tensor(arguments));
      case PickleGlobal::Kind::rebuild_parameter:
        return push(parameter(arguments));
      case PickleGlobal::Kind::size:
        return push(size(arguments));
      case PickleGlobal::Kind::storage:
        break;
    }
    fail("its pickle calls a storage's class");
  }
  // OrderedDict() and its items follow; Counter({...}).
  PickleValue mapping(const std::vector<PickleValue>& arguments) {
    if (arguments.empty()) {
      return new_dict();
    }
    if (arguments.size() != 1) {
      fail("its pickle makes a dict in an unknown way");
    }
    return as<const PickleDict*>(arguments[0], "a dict");
  }
  // (storage, offset, sizes, strides, requires_grad, hooks[, {"conj"|"neg": True}])
  PickleValue tensor(const std::vector<PickleValue>& arguments) {
    if (arguments.size() != 6 && arguments.size() != 7) {
      fail("its pickle makes a tensor in an unknown way");
    }
    if (arguments.size() == 7 && !as<const PickleDict*>(arguments[6], "a tensor's metadata")->items.empty()) {
      fail("it holds a lazily conjugated or negated tensor: save its resolve_neg() and resolve_conj()");
    }
    PickledTensor view{*as<const PickledStorage*>(arguments[0], "a tensor's storage"),
                       as<std::int64_t>(arguments[1], "a tensor's offset"), 0,
                       integers(arguments[2], "a tensor's sizes"),
                       integers(arguments[3], "a tensor's strides")};
    constexpr std::size_t kMostDimensions = 8;
    if (view.sizes.size() != view.strides.size() || view.sizes.size() > kMostDimensions) {
      fail("a tensor has an impossible number of sizes or strides");
    }
    const auto extent = extent_of(view.sizes, view.strides);
    if (!extent || view.offset < 0 || view.offset > view.storage.numel ||
        *extent > view.storage.numel - view.offset) {
      fail("a tensor reaches outside of its storage");
    }
    view.extent = *extent;
    return &pickle_.tensors_.emplace_back(std::move(view));
  }
  PickleValue parameter(const std::vector<PickleValue>& arguments) {
    if (arguments.size() != 3) {
      fail("its pickle makes a parameter in an unknown way");
    }
    return as<const PickledTensor*>(arguments[0], "a parameter's tensor");
  }
  PickleValue size(const std::vector<PickleValue>& arguments) {
    if (arguments.size() != 1) {
      fail("its pickle makes a torch.Size in an unknown way");
    }
    return as<const PickleList*>(arguments[0], "the numbers of a torch.Size");
  }
  std::vector<std::int64_t> integers(const PickleValue& list, const char* what) const {
    std::vector<std::int64_t> numbers;
    for (const auto& item : as<const PickleList*>(list, what)->items) {
      numbers.push_back(as<std::int64_t>(item, what));
    }
    return numbers;
  }

  Pickle& pickle_;
  const std::string& where_;
  std::size_t position_ = 0;
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;
  std::vector<PickleValue> memo_;
};

Pickle::Pickle(std::vector<std::byte> bytes, const std::string& where) : bytes_(std::move(bytes)) {
  root_ = PickleParser(*this, where).run();
}

}  // namespace slicereduce
