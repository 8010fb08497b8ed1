#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace slicereduce {

struct PickleList;
struct PickleDict;

/// What torch.save writes instead of a storage: where its bytes are, and how many elements they are.
struct PickledStorage {
  std::string_view key;  ///< the record data/KEY of the archive
  c10::ScalarType dtype;
  std::int64_t numel;
};

/// A view of a storage. Checked: every element that sizes and strides reach lies inside the storage's
/// `numel`, and no product of theirs overflows.
struct PickledTensor {
  PickledStorage storage;
  std::int64_t offset;  ///< elements
  std::int64_t extent;  ///< elements from the first to the last that is reached, holes included
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;  ///< elements
};

/// The few globals that torch.save names for tensors and plain containers. Nothing else is accepted, so
/// nothing in a file can make the reader run code.
struct PickleGlobal {
  enum class Kind { mapping, rebuild_tensor, rebuild_parameter, size, storage } kind;
  c10::ScalarType dtype;  ///< of Kind::storage
};

/// None is std::monostate. Pointers and texts point into the Pickle that owns them.
using PickleValue =
    std::variant<std::monostate, bool, std::int64_t, double, std::string_view, const PickleList*,
                 const PickleDict*, const PickledTensor*, const PickledStorage*, PickleGlobal>;

/// A list, tuple or torch.Size.
struct PickleList {
  std::vector<PickleValue> items;
};

/// A dict, OrderedDict or Counter in the order of insertion; a key that was set twice is there twice.
struct PickleDict {
  std::vector<std::pair<PickleValue, PickleValue>> items;

  /// The value of the first key that is this text; None where there is none.
  [[nodiscard]] PickleValue find(std::string_view key) const;
};

/// A pickle of protocol 2 as torch.save and LibTorch's Pickler write it, with everything it holds. Flat:
/// containers own no containers, so that neither deep nesting nor a cycle can hurt.
class Pickle {
 public:
  /// `where` names the file in errors. Throws Error(input) on whatever is malformed, out of range or not
  /// accepted.
  Pickle(std::vector<std::byte> bytes, const std::string& where);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  [[nodiscard]] const PickleValue& root() const { return root_; }

 private:
  friend class PickleParser;

  std::vector<std::byte> bytes_;
  // Deques: their elements stay where they are while more are added.
  std::deque<PickleList> lists_;
  std::deque<PickleDict> dicts_;
  std::deque<PickledStorage> storages_;
  std::deque<PickledTensor> tensors_;
  PickleValue root_;
};

/// The dtypes that state dicts are read and written in.
[[nodiscard]] bool is_storable(c10::ScalarType dtype);

}  // namespace slicereduce
