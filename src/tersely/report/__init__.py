"""Floor 5: draws finished tables as terminal tables, figures and one offline HTML page."""
