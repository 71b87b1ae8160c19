"""The browser page: a static site that classifies an image in the visitor's own browser.

python -m space release/deit-tiny-ham10000
python -m http.server --directory build/space
"""
