#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace slicereduce {

/// Named tensors in their order, as a PyTorch module's state_dict().
using StateDict = std::vector<std::pair<std::string, at::Tensor>>;

/// The tensor of that name, or null. Linear: for the loop over a model's few hundred names, index them.
[[nodiscard]] const at::Tensor* find_tensor(const StateDict& dict, std::string_view name);
/// Throws Error(input) naming `where` (the file) and the tensor that it lacks.
[[nodiscard]] const at::Tensor& tensor_named(const StateDict& dict, std::string_view name,
                                             std::string_view where);

/// What a file says beside tensors: a Python int or bool, float, str, or list of int.
using StateValue = std::variant<std::int64_t, double, std::string, std::vector<std::int64_t>>;
/// By name, in the order of the file.
using StateExtras = std::vector<std::pair<std::string, StateValue>>;

/// All that a file holds.
struct StateFile {
  StateDict tensors;
  StateExtras extras;
};

/// The value of that name, or null.
[[nodiscard]] const StateValue* find_extra(const StateExtras& extras, std::string_view name);

/// Writes, atomically, a file that torch.load(path, weights_only=True) reads as one plain dict: the
/// tensors, then the extras, under their names. Tensors keep their strides where they are dense (channels
/// last, for instance); views are trimmed to their own elements; tensors of a device are copied to the
/// host. Float, double, half, bfloat16, int64, int32, uint8 and bool. Texts are UTF-8. Throws Error(io),
/// and Error(invariant) for a name that is there twice.
void write_state_dict(const std::filesystem::path& path, const StateDict& dict,
                      const StateExtras& extras = {});

/// Reads what torch.save(model.state_dict(), path), torch.save(dict(...), path) and write_state_dict
/// produce, PyTorch 1.6 to 2.11, and what training scripts write: the state dict is then under
/// "state_dict" or "model", and the extras are the plain values beside it. The prefix "module." of
/// DistributedDataParallel is taken off where every name has it. Tensors come back in host memory, each
/// owning its own, with the strides they were saved with. Values of other kinds (an optimizer's state) are
/// passed over. No code of the file is ever run: a Python object in it is refused. Throws Error(input)
/// naming the file.
[[nodiscard]] StateFile read_state_file(const std::filesystem::path& path);
[[nodiscard]] StateDict read_state_dict(const std::filesystem::path& path);

}  // namespace slicereduce
