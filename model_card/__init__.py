"""Fill the model card from the files of a run, push both to the Hub, and publish the page for browsers.

python -m model_card runs/deit-tiny
python -m model_card runs/deit-tiny --push_to_hub --hub_model_id you/deit-tiny-ham10000
python -m model_card runs/deit-tiny --push_space you/lesions --hub_model_id you/deit-tiny-ham10000
"""
