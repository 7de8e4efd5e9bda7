// Hierarchical accuracy: predictions that are related to the label in WordNet count as right.
#pragma once

#include "classes/class_table.h"
#include "metrics/top_k.h"

namespace packhorse {

/// The share of images whose top-1 prediction is the label, or its ancestor or descendant in WordNet. -1 if there are
/// no images, WordNet is not installed, or a class has no WordNet id.
double hierarchical_accuracy(const AccuracyCounters& counters, const ClassTable& table);

}  // namespace packhorse
