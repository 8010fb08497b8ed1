#pragma once

/// Compiles a loop once for each generation of x86; the loader picks. For loops whose every copy gives the
/// same bits: integer operations, and single sums and products, which -ffp-contract=off keeps apart.
/// Sanitizers don't survive a resolver that runs before they do, and clang knows no clones of templates.
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define SLICEREDUCE_FOR_EACH_X86 __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SLICEREDUCE_FOR_EACH_X86
#endif
