"""From the lake to a challenger: training sets, trainers, conversion, proof, gates."""
