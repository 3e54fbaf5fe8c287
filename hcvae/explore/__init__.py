"""The page of `hcvae explore`: controls of conditions and latents, their waveform, and recordings for comparison.

The page is one HTML form. Its script sends the whole form after each change; the server keeps no state, so that any
number of pages can be open. Only `server` needs the extra `explore`; the rest is tested without a browser.
"""
