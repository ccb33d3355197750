"""What the endpoints take and return, as pydantic models."""
