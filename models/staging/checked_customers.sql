{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('customers', 'customer_id') }}
{%- endcall %}
{{ perennial.checked('customers', touched_by='customer_id') }}
