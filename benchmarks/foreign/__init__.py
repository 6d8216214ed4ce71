"""Videos of another renderer (VTK), scored: are consistent ones above their spoilt versions?"""
