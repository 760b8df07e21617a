#pragma once

#include "skipstream/stages/calibrate.hpp"
#include "skipstream/stages/compress_skips.hpp"
#include "skipstream/stages/correct_leach.hpp"
#include "skipstream/stages/correct_polarity.hpp"
#include "skipstream/stages/find_clusters.hpp"
#include "skipstream/stages/mask_bleeding.hpp"
#include "skipstream/stages/mask_columns.hpp"
#include "skipstream/stages/mask_crowded.hpp"
#include "skipstream/stages/mask_edges.hpp"
#include "skipstream/stages/mask_halo.hpp"
#include "skipstream/stages/mask_hot.hpp"
#include "skipstream/stages/mask_noisy_rows.hpp"
#include "skipstream/stages/mask_rows.hpp"
#include "skipstream/stages/mask_serial_hits.hpp"
#include "skipstream/stages/replace_saturated.hpp"
#include "skipstream/stages/subtract_baseline.hpp"
#include "skipstream/stages/subtract_pedestal.hpp"

namespace skipstream {

template <class... Stage>
struct StageList {};

/// Every stage there is, in the order in which a chain usually has them. A new one is added here.
using AllStages =
    StageList<CorrectLeach, CorrectPolarity, SubtractBaseline, CompressSkips, ReplaceSaturated,
              MaskColumns, MaskRows, SubtractPedestal, Calibrate, MaskEdges, MaskHot, MaskNoisyRows,
              MaskBleeding, MaskSerialHits, MaskCrowded, FindClusters, MaskHalo>;

}  // namespace skipstream
