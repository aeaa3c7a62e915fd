"""What the service is compared with; each is a server that takes one row as POST /predict.

MODEL_VARIABLE, in the environment of a server, names the folder of the model that it loads.
"""

MODEL_VARIABLE = "BENCHMARK_MODEL"
