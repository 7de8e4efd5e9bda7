// How often a wrong answer is at least related to the right one.
#pragma once

#include "classes/class_table.h"
#include "metrics/top_k.h"

namespace packhorse {

/// The share of images whose first choice is right, or is above or below the label in WordNet; -1 if WordNet is not
/// installed or a class has no WordNet id.
double hierarchical_accuracy(const AccuracyCounters& counters, const ClassTable& table);

}  // namespace packhorse
