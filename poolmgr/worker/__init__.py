"""The worker: takes jobs from the job servers, and answers them."""
