"""A stand-in until the owner's routes are here."""

from fastapi import APIRouter

router = APIRouter()
