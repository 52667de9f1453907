{#- Every setting of Perennial, once: its type, its default and what values it may have. -#}
{% macro settings_catalogue() %}
    {% do return({
        'shop': {'type': 'text', 'default': 'demo',
            'accepted': ['demo', 'files', 'tables', 'models', 'online_retail', 'complete_journey']},
        'raw_path': {'type': 'text', 'default': none, 'env': 'PERENNIAL_RAW'},
        'raw_schema': {'type': 'text', 'default': 'raw'},
        'raw_models': {'type': 'mapping', 'default': {}},
        'as_of': {'type': 'timestamp', 'default': none},
        'history_loaded_until': {'type': 'timestamp', 'default': none},
        'compared_from': {'type': 'timestamp', 'default': none},
        'timezone': {'type': 'text', 'default': 'UTC'},
        'week_start': {'type': 'text', 'default': 'monday', 'accepted': ['monday',
            'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']},
        'currency': {'type': 'text', 'default': 'EUR'},
        'max_quarantine_share': {'type': 'number', 'default': 0.10, 'min': 0, 'max': 1},
        'session_timeout_minutes': {'type': 'integer', 'default': 30, 'min': 1, 'max': 1440},
        'rfm_weights': {'type': 'mapping',
            'default': {'recency': 1, 'frequency': 1, 'monetary': 1}},
        'similarity': {'type': 'mapping', 'default': {}, 'fields': {
            'way': {'type': 'text', 'default': 'python', 'accepted': ['python', 'sql']},
            'top_k': {'type': 'integer', 'default': 50, 'min': 1, 'max': 10000},
            'min_count': {'type': 'integer', 'default': 3, 'min': 1, 'max': 1000000},
            'max_items': {'type': 'integer', 'default': 100, 'min': 2, 'max': 100000},
            'half_life_days': {'type': 'number', 'default': none, 'min': 1, 'max': 100000}}},
        'association_rules': {'type': 'mapping', 'default': {}, 'fields': {
            'min_support': {'type': 'number', 'default': 0.005, 'min': 0, 'max': 1},
            'min_confidence': {'type': 'number', 'default': 0.2, 'min': 0, 'max': 1},
            'max_items': {'type': 'integer', 'default': 4, 'min': 2, 'max': 20},
            'max_itemsets': {'type': 'integer', 'default': 100000, 'min': 1, 'max': 10000000}}},
        'recommenders': {'type': 'mapping', 'default': {}, 'fields': {
            'embeddings': {'type': 'boolean', 'default': false}}},
        'churn_horizon_days': {'type': 'integer', 'default': 90, 'min': 1, 'max': 1095},
        'churn_activity_days': {'type': 'integer', 'default': 365, 'min': 1, 'max': 3650},
        'churn_step_days': {'type': 'integer', 'default': 30, 'min': 1, 'max': 365},
        'churn_snapshots': {'type': 'integer', 'default': 24, 'min': 1, 'max': 1000},
        'churn_training_customers': {'type': 'integer', 'default': 20000, 'min': 1,
            'max': 10000000},
        'monitor_z': {'type': 'number', 'default': 4.5, 'min': 1, 'max': 1000},
        'monitor_days': {'type': 'integer', 'default': 3, 'min': 1, 'max': 365},
        'monitor_drift': {'type': 'number', 'default': 0.25, 'min': 0, 'max': 100},
    }) %}
{% endmacro %}


{#-
The value of a setting. The first of these that is given wins: the var (--vars, or the
project that installed Perennial), the environment variable PERENNIAL_<NAME>, the shop's
own setting in `shop_settings`, the default.
-#}
{% macro setting(name) %}
    {% set rule = perennial.settings_catalogue()[name] %}
    {% set value = namespace(given=var(name, none)) %}
    {% if value.given is none %}
        {% set from_env = env_var(rule.get('env', 'PERENNIAL_' ~ name | upper), '') %}
        {% if from_env != '' %}
            {% set value.given = from_env %}
            {% if rule.type == 'mapping' %}
                {% set value.given = fromjson(from_env, from_env) %}
            {% endif %}
        {% endif %}
    {% endif %}
    {% if value.given is none and name != 'shop' %}
        {% set shop = perennial.setting('shop') %}
        {% set value.given = var('shop_settings', {}).get(shop, {}).get(name, none) %}
    {% endif %}
    {% if value.given is none %}
        {% set value.given = rule.default %}
    {% endif %}
    {% if value.given is string and rule.type == 'integer' and value.given | int(none) is not none %}
        {% set value.given = value.given | int %}
    {% elif value.given is string and rule.type == 'number' and value.given | float(none) is not none %}
        {#- A whole number stays one: it is shown as it was given. -#}
        {% set value.given = fromjson(value.given, value.given | float) %}
    {% endif %}
    {% do perennial.check_setting(name, rule, value.given) %}
    {% if rule.fields is defined %}
        {% set value.given = perennial.with_defaults(name, rule.fields, value.given) %}
    {% endif %}
    {% do return(value.given) %}
{% endmacro %}


{#-
A setting of several fields: those that are given, each checked like a setting, and the defaults of
the others.

Arguments:
  name    the setting
  fields  their rules, by name
  given   the mapping that was given
-#}
{% macro with_defaults(name, fields, given) %}
    {% for field in given if field not in fields %}
        {% do perennial.stop("setting '" ~ name ~ "': there is no " ~ field ~ '; it has '
            ~ fields | join(', ') ~ '.') %}
    {% endfor %}
    {% set found = {} %}
    {% for field, rule in fields.items() %}
        {% set value = given.get(field, rule.default) %}
        {% do perennial.check_setting(name ~ '.' ~ field, rule, value) %}
        {% do found.update({field: value}) %}
    {% endfor %}
    {% do return(found) %}
{% endmacro %}


{#-
Stop with a sentence when a setting has a value that it cannot have.

Arguments:
  name   the setting
  rule   its entry in settings_catalogue()
  value  what was given
-#}
{% macro check_setting(name, rule, value) %}
    {% set problem = namespace(text=none) %}
    {% if value is none %}
    {% elif rule.accepted is defined and value not in rule.accepted %}
        {% set problem.text = 'is none of ' ~ rule.accepted | join(', ') %}
    {% elif rule.type == 'integer' and value is not integer %}
        {% set problem.text = 'is not a whole number' %}
    {% elif rule.type == 'number' and value is not number %}
        {% set problem.text = 'is not a number' %}
    {% elif rule.type == 'boolean' and value is not boolean %}
        {% set problem.text = 'is neither true nor false' %}
    {% elif rule.type == 'mapping' and value is not mapping %}
        {% set problem.text = 'is not a mapping such as {key: value}' %}
    {% elif rule.type == 'text' and value is not string %}
        {% set problem.text = 'is not a text' %}
    {% elif rule.min is defined and (value < rule.min or value > rule.max) %}
        {% set problem.text = 'is not between ' ~ rule.min ~ ' and ' ~ rule.max %}
    {% elif name == 'rfm_weights' %}
        {% set weights = [value.get('recency'), value.get('frequency'), value.get('monetary')] %}
        {% if weights | select('number') | list | length < 3 or weights | min < 0 or weights | max == 0 %}
            {% set problem.text = 'needs recency, frequency and monetary, each a number of 0 or '
                ~ 'more, and one of them more than 0' %}
        {% endif %}
    {% endif %}
    {% if problem.text %}
        {% do perennial.stop("setting '" ~ name ~ "': " ~ value ~ ' ' ~ problem.text ~ '.') %}
    {% endif %}
{% endmacro %}


{#- The same for every setting, also where only the database can tell whether it is valid. -#}
{% macro validate_settings() %}
    {% for name in perennial.settings_catalogue() %}
        {% do perennial.setting(name) %}
    {% endfor %}

    {% set zone = perennial.setting('timezone') %}
    {% if not run_query('select ' ~ perennial.is_time_zone(zone)).rows[0][0] %}
        {% do perennial.stop("setting 'timezone': " ~ zone
            ~ " is no time zone; use a name such as Europe/Berlin.") %}
    {% endif %}
    {% for name in ['as_of', 'history_loaded_until', 'compared_from'] %}
        {% set given = perennial.setting(name) %}
        {% set text = "'" ~ (given | string) | replace("'", "''") ~ "'" %}
        {% if given is not none
            and run_query('select ' ~ perennial.text_as_timestamp(text)).rows[0][0] is none %}
            {% do perennial.stop("setting '" ~ name ~ "': " ~ given
                ~ " is no moment; use YYYY-MM-DD HH:MM:SS in UTC.") %}
        {% endif %}
    {% endfor %}
{% endmacro %}


{#- Stop the run with one sentence for the user. -#}
{% macro stop(sentence) %}
    {{ exceptions.raise_compiler_error('Perennial stopped: ' ~ sentence) }}
{% endmacro %}
