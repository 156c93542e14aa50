"""The tiny world, a plug-in: its captions, its pictures, its judges and what its people prefer."""
