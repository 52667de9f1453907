{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('events', 'event_id') }}
{%- endcall %}
{{ perennial.checked('events', touched_by='event_id') }}
