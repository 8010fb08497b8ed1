#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "core/state_dict.hpp"
#include "sampling/sliced_parameter.hpp"

namespace slicereduce {

/// What one rank has not sent yet of its gradients, copied, so that it can be gathered while training goes
/// on.
struct OwnDebts {
  struct Of {
    std::string parameter;
    std::vector<std::int64_t> sizes;
  };
  std::vector<Of> parameters;  ///< that something is owed of: the same ones on all ranks
  at::Tensor numbers;  ///< [n] float, in host memory: theirs one after the other, as they lie in memory
};

/// `owed` by parameter, undefined where nothing is.
[[nodiscard]] OwnDebts copy_debts(std::span<const at::Tensor> owed,
                                  std::span<const ParameterShape> parameters);

/// Collective. All ranks' debts as a checkpoint holds them, rank<r>.<parameter>, on rank 0; nothing on
/// others.
[[nodiscard]] StateDict gather_debts(const OwnDebts& own, Communicator& communicator);

/// Whether that is the name of what `rank` owes.
[[nodiscard]] bool is_owed_by(int rank, std::string_view name);

/// Of a parameter: what `rank` of `world_size` owes, from what `saved_ranks` owed by a checkpoint; undefined
/// where nothing. Throws Error(input) naming `where` for what is of another shape.
[[nodiscard]] at::Tensor share_of_owed(const StateDict& owed, const ParameterShape& shape, int saved_ranks,
                                       int rank, int world_size, const std::string& where);

}  // namespace slicereduce
