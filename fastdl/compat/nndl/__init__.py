"""Stands in for the networks of *Neural Networks and Deep Learning*, in their ports to Python 3.

https://github.com/mnielsen/neural-networks-and-deep-learning, MIT licence, is written for Python 2; its ports
are served, such as https://github.com/unexploredtest/neural-networks-and-deep-learning and
https://github.com/MichalDanielDobrzanski/DeepLearningPython. `Network.update_mini_batch` takes the samples of
a mini-batch one by one; here they go through the network together. What the cost is, the network says itself.
"""
