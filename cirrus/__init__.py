"""End-to-end machine learning on serverless functions: prepare, train and tune without a cluster."""
