"""The network in TensorFlow/Keras, as a tf.function and compiled by XLA."""
