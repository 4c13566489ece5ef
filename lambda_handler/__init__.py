"""What runs inside a serverless function."""
