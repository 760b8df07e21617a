#include "skipstream/kernels/groups.hpp"

#include "skipstream/kernels/dispatch.hpp"

namespace skipstream::kernels {

namespace baseline {
extern const AllGroupKernels group_kernels;
}
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
namespace v3 {
extern const AllGroupKernels group_kernels;
}
namespace v4 {
extern const AllGroupKernels group_kernels;
}
#endif

const AllGroupKernels& group_kernels() noexcept {
  switch (chosen_level()) {
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
    case SimdLevel::v4:
      return v4::group_kernels;
    case SimdLevel::v3:
      return v3::group_kernels;
#endif
    default:
      return baseline::group_kernels;
  }
}

}  // namespace skipstream::kernels
