#include "core/state_dict.hpp"

#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_set>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "core/torch_archive.hpp"

namespace slicereduce {

namespace {

template <typename Value>
const Value* find_in(const std::vector<std::pair<std::string, Value>>& entries, std::string_view name) {
  const auto found = std::ranges::find_if(entries, [name](const auto& entry) { return entry.first == name; });
  return found == entries.end() ? nullptr : &found->second;
}

c10::IValue to_ivalue(const StateValue& value) {
  if (const auto* numbers = std::get_if<std::vector<std::int64_t>>(&value)) {
    // A list of ints would be pickled through a function of TorchScript's, which weights_only refuses; a
    // list of anything is a plain one.
    c10::List<c10::IValue> list(c10::AnyType::get());
    for (const std::int64_t number : *numbers) {
      list.push_back(number);
    }
    return list;
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    return *text;
  }
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return *integer;
  }
  return std::get<double>(value);
}

const PickleDict* as_dict(const PickleValue& value) {
  const auto* dict = std::get_if<const PickleDict*>(&value);
  return dict == nullptr ? nullptr : *dict;
}

bool has_tensor(const PickleDict& dict) {
  return std::ranges::any_of(
      dict.items, [](const auto& item) { return std::holds_alternative<const PickledTensor*>(item.second); });
}

/// The dict that holds the weights: nested ones first, since a training script's file may also hold a
/// stray tensor beside them (the best accuracy, in PyTorch's ImageNet example).
const PickleDict* weights_in(const PickleDict& root) {
  for (const char* name : {"state_dict", "model"}) {
    const PickleDict* nested = as_dict(root.find(name));
    if (nested != nullptr && has_tensor(*nested)) {
      return nested;
    }
  }
  return has_tensor(root) ? &root : nullptr;
}

StateDict load_tensors(TorchArchive& archive, const PickleDict& dict, const std::string& where) {
  StateDict tensors;
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, value] : dict.items) {
    const auto* tensor = std::get_if<const PickledTensor*>(&value);
    if (tensor == nullptr) {
      continue;
    }
    const auto* name = std::get_if<std::string_view>(&key);
    if (name == nullptr || !seen.insert(*name).second) {
      throw Error(ErrorKind::input, concat(where, ": a tensor's name is not a text, or is there twice"));
    }
    tensors.emplace_back(*name, archive.load(**tensor));
  }
  return tensors;
}

void strip_module_prefix(StateDict& tensors) {
  constexpr std::string_view kPrefix = "module.";
  if (std::ranges::all_of(tensors, [=](const auto& entry) { return entry.first.starts_with(kPrefix); })) {
    for (auto& [name, tensor] : tensors) {
      name.erase(0, kPrefix.size());
    }
  }
}

std::optional<StateValue> plain_value(const PickleValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) {
    return std::int64_t{*flag};
  }
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return *integer;
  }
  if (const auto* number = std::get_if<double>(&value)) {
    return *number;
  }
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    return std::string(*text);
  }
  const auto* list = std::get_if<const PickleList*>(&value);
  if (list == nullptr) {
    return std::nullopt;
  }
  std::vector<std::int64_t> numbers;
  for (const auto& item : (*list)->items) {
    const auto* integer = std::get_if<std::int64_t>(&item);
    if (integer == nullptr) {
      return std::nullopt;
    }
    numbers.push_back(*integer);
  }
  return numbers;
}

/// Of a name that is there twice, the first, as for tensors' dicts.
StateExtras plain_values(const PickleDict& dict) {
  StateExtras extras;
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, value] : dict.items) {
    const auto* name = std::get_if<std::string_view>(&key);
    if (name == nullptr || !seen.insert(*name).second) {
      continue;
    }
    if (auto plain = plain_value(value)) {
      extras.emplace_back(*name, std::move(*plain));
    }
  }
  return extras;
}

/// `extras` are left out where nobody wants them: names may share a text, and a small file come to much.
StateFile read_state(const std::filesystem::path& path, bool extras) {
  TorchArchive archive(path);
  const PickleDict* root = as_dict(archive.root());
  const PickleDict* weights = root == nullptr ? nullptr : weights_in(*root);
  if (weights == nullptr) {
    throw Error(ErrorKind::input,
                concat(path.string(),
                       ": holds no state dict: expected named tensors, or a dict with them under "
                       "\"state_dict\" or \"model\""));
  }
  StateFile file{load_tensors(archive, *weights, path.string()),
                 extras ? plain_values(*root) : StateExtras{}};
  strip_module_prefix(file.tensors);
  return file;
}

}  // namespace

const at::Tensor* find_tensor(const StateDict& dict, std::string_view name) { return find_in(dict, name); }

const at::Tensor& tensor_named(const StateDict& dict, std::string_view name, std::string_view where) {
  if (const at::Tensor* found = find_tensor(dict, name)) {
    return *found;
  }
  throw Error(ErrorKind::input,
              concat(where, ": holds no tensor ", name, ": was it written for another network?"));
}

const StateValue* find_extra(const StateExtras& extras, std::string_view name) {
  return find_in(extras, name);
}

void write_state_dict(const std::filesystem::path& path, const StateDict& dict, const StateExtras& extras) {
  c10::Dict<c10::IValue, c10::IValue> root(c10::StringType::get(), c10::AnyType::get());
  for (const auto& [name, tensor] : dict) {
    require(root.insert(name, to_own_storage(tensor)).second, "a state dict holds a name twice");
  }
  for (const auto& [name, value] : extras) {
    require(root.insert(name, to_ivalue(value)).second, "a state dict holds a name twice");
  }
  AtomicFile file(path);
  write_torch_archive(root, [&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.commit();
}

StateFile read_state_file(const std::filesystem::path& path) { return read_state(path, /*extras=*/true); }

StateDict read_state_dict(const std::filesystem::path& path) {
  return read_state(path, /*extras=*/false).tensors;
}

}  // namespace slicereduce
