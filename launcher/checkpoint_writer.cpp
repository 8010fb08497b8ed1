#include "launcher/checkpoint_writer.hpp"

#include <ATen/core/Tensor.h>

#include <memory>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

void copy_tensors(StateDict& state) {
  for (auto& [name, tensor] : state) {
    tensor = tensor.is_cpu() ? tensor.clone() : tensor.cpu();
  }
}

/// The run goes on with its own tensors.
void detach_from_run(Checkpoint& content) {
  for (StateDict* state : {&content.weights, &content.momentum, &content.statistics, &content.recalibrated,
                           &content.channels, &content.slices, &content.factors}) {
    copy_tensors(*state);
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(CheckpointFolder folder, std::int64_t most_failures,
                                   Communicator& communicator, Log log)
    : folder_(std::move(folder)),
      most_failures_(most_failures),
      communicator_(communicator),
      log_(std::move(log)) {}

CheckpointWriter::~CheckpointWriter() { wait(); }

void CheckpointWriter::wait() const {
  if (under_way_.valid()) {
    under_way_.wait();
  }
}

void CheckpointWriter::make_room() {
  settle();
  if (failures_ >= most_failures_) {
    throw Error(ErrorKind::io,
                concat(failures_,
                       " checkpoints in a row could not be written (--checkpoint-failures), the last one: ",
                       failure_));
  }
}

void CheckpointWriter::write(Checkpoint content, OwnDebts debts, bool is_best) {
  const bool leads = communicator_.rank() == 0;
  if (leads) {
    detach_from_run(content);
  }
  // The future keeps what is captured until the next checkpoint: so it is taken out, and gone once written.
  auto captured = std::make_shared<std::pair<Checkpoint, OwnDebts>>(std::move(content), std::move(debts));
  under_way_ =
      std::async(std::launch::async, [this, leads, is_best, captured = std::move(captured)]() mutable {
        const auto own = std::move(captured);
        auto& [checkpoint, owed] = *own;
        checkpoint.owed = gather_debts(owed, communicator_);
        if (leads) {
          save(checkpoint, is_best);
        }
      });
}

void CheckpointWriter::save(const Checkpoint& content, bool is_best) const {
  std::filesystem::path path;
  try {
    path = folder_.save(content);
    log_.detail(concat("checkpoint=", path.string()));
  } catch (const std::exception& problem) {
    log_.warn(concat("no checkpoint of step ", content.manifest.step, ": ", problem.what(),
                     "; those before are as they were"));
    throw;
  }
  if (is_best) {
    try {
      folder_.make_best(path);
    } catch (const std::exception& problem) {  // the checkpoint itself is whole
      log_.warn(concat("best.ckpt is still the one of before: ", problem.what()));
    }
  }
}

void CheckpointWriter::finish() {
  settle();
  if (!failure_.empty()) {
    throw Error(ErrorKind::io, concat("the last checkpoint could not be written: ", failure_));
  }
}

void CheckpointWriter::settle() {
  if (!under_way_.valid()) {
    return;
  }
  try {
    under_way_.get();
    failures_ = 0;
    failure_.clear();
  } catch (const std::exception& problem) {
    ++failures_;
    failure_ = problem.what();
  }
}

}  // namespace slicereduce
